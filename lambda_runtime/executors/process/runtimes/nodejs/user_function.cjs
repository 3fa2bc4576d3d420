'use strict';
// From a handler string to the function it names: which file, how it is loaded, what AWS calls each way to go wrong.

const { existsSync, readFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const { RuntimeError } = require('./errors.cjs');

/** Modules are looked up, and missing ones reported, from where AWS's runtime has its own file. */
const userRequire = createRequire('/var/runtime/index.mjs');

/** Load the handler `dir/file.export.nested` below `taskRoot`. Rejects with the error that belongs into init/error. */
async function loadHandler(taskRoot, handlerString) {
  if (handlerString.includes('..')) {
    throw new RuntimeError(
      'Runtime.MalformedHandlerName',
      `'${handlerString}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`,
    );
  }
  const name = path.basename(handlerString);
  const directory = handlerString.slice(0, handlerString.length - name.length);
  const parts = /^([^.]*)\.(.*)$/.exec(name);
  if (parts === null) throw new RuntimeError('Runtime.MalformedHandlerName', 'Bad handler');

  const exported = await loadModule(taskRoot, directory, parts[1]);
  const handler = parts[2].split('.').reduce((value, key) => value?.[key], exported);
  if (handler === undefined || handler === null) {
    throw new RuntimeError('Runtime.HandlerNotFound', `${handlerString} is undefined or not exported`);
  }
  if (typeof handler !== 'function') throw new RuntimeError('Runtime.HandlerNotFound', `${handlerString} is not a function`);
  return handler;
}

async function loadModule(taskRoot, directory, name) {
  try {
    const file = path.resolve(taskRoot, directory, name);
    if (existsSync(file)) return userRequire(file);
    if (existsSync(`${file}.js`)) return isModuleScope(path.dirname(file)) ? await importFile(`${file}.js`) : userRequire(`${file}.js`);
    if (existsSync(`${file}.mjs`)) return await importFile(`${file}.mjs`);
    if (existsSync(`${file}.cjs`)) return userRequire(`${file}.cjs`);
    return userRequire(userRequire.resolve(directory + name, { paths: [taskRoot, path.resolve(taskRoot, directory)] }));
  } catch (error) {
    tellOfSdk(error);
    if (error instanceof SyntaxError) throw new RuntimeError('Runtime.UserCodeSyntaxError', String(error));
    if (error?.code === 'MODULE_NOT_FOUND') throw new RuntimeError('Runtime.ImportModuleError', String(error));
    throw error;
  }
}

/** AWS's runtimes include the AWS SDK; where it is missing here, the log says what to do about that. */
function tellOfSdk(error) {
  const missing = /^Cannot find (?:module|package) '(@aws-sdk\/[^']*)'/.exec(error?.message ?? '');
  if (missing === null || !['MODULE_NOT_FOUND', 'ERR_MODULE_NOT_FOUND'].includes(error.code)) return;
  process.stderr.write(
    `[WARN] lambda-provider: ${missing[1]} is not on this machine: \`lambda-provider runtimes install nodejs\` fetches the AWS SDK once.\n`,
  );
}

function importFile(file) {
  const { pathToFileURL } = require('node:url');
  return import(pathToFileURL(file).href);
}

/** Whether the nearest package.json says that .js files are ES modules. */
function isModuleScope(directory) {
  for (let current = directory; path.basename(current) !== 'node_modules'; current = path.dirname(current)) {
    const manifest = path.join(current, 'package.json');
    if (existsSync(manifest)) {
      try {
        return JSON.parse(readFileSync(manifest, 'utf8')).type === 'module';
      } catch {
        return false; // Node.js itself reports a damaged package.json when it loads the file
      }
    }
    if (path.dirname(current) === current) break;
  }
  return false;
}

module.exports = { loadHandler };
