'use strict';
// Node.js, started before there is a function for it: `node standby.cjs` waits until it is told what to be, and becomes that.
//
// The request comes as one message on descriptor 4, when the function's code is mounted; an end instead of it is the end.

const fs = require('node:fs');
const path = require('node:path');
const Module = require('node:module');

const REQUESTS = 4;
const LONGEST_REQUEST = 1 << 20;

// What every function needs is loaded while nobody waits.
for (const name of ['errors', 'invocation', 'invoke_store', 'logging', 'runtime_api', 'user_function']) require(`./${name}.cjs`);

const buffer = Buffer.alloc(LONGEST_REQUEST);
const length = fs.readSync(REQUESTS, buffer);
if (length === 0) process.exit(0);
fs.closeSync(REQUESTS);
const { variables, directory } = JSON.parse(buffer.toString('utf8', 0, length));

for (const name of Object.keys(process.env)) if (!(name in variables)) delete process.env[name];
for (const [name, value] of Object.entries(variables)) process.env[name] = value;
process.chdir(directory);
Module._initPaths(); // Node.js read NODE_PATH at its start
process.argv[1] = path.join(__dirname, 'bootstrap.cjs');
require('./bootstrap.cjs');
