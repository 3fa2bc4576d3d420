'use strict';
// The console of a function, as AWS patches it: every line carries the time, the request id and the level, in text or as
// JSON; it goes to the telemetry descriptor in frames when there is one, to stdout when not. Writes are synchronous: what a
// function printed is out before its response is.

const { writeSync } = require('node:fs');
const { format } = require('node:util');
const { isError, toJsonRecord, toLogText, withErrorsAs } = require('./errors.cjs');

/** Level names in rising order; the number is the frame's level bits. */
const LEVELS = { TRACE: 1, DEBUG: 2, INFO: 3, WARN: 4, ERROR: 5, FATAL: 6 };
const METHODS = { trace: 'TRACE', debug: 'DEBUG', log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', fatal: 'FATAL' };

const FRAME_MAGIC = 0xa55a0000;
const FRAME_TEXT = 3;
const FRAME_JSON = 2;
const FRAME_HEAD = 16; // type 4, length 4, microseconds since 1970 8; all big-endian
const EAGAIN_PAUSE_MS = 1;

/** Whose lines these are. Only one invocation runs at a time, so a plain value follows it across every callback. */
const scope = { requestId: undefined, tenantId: undefined };

let json = false;
let threshold = 0;
let telemetryFd = -1;

/** Patch the global console. `initialRequestId` is what lines of the init phase carry in the text format. */
function install(env, initialRequestId) {
  json = env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === 'JSON';
  threshold = LEVELS[env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()] ?? 0;
  scope.requestId = initialRequestId;
  const fd = env._LAMBDA_TELEMETRY_LOG_FD;
  if (fd !== undefined) {
    telemetryFd = Number(fd);
    delete env._LAMBDA_TELEMETRY_LOG_FD; // the function's children must not write into it
  }
  for (const [method, level] of Object.entries(METHODS)) {
    console[method] = LEVELS[level] < threshold ? () => {} : (...args) => log(level, args);
  }
}

function log(level, args) {
  const now = new Date();
  emit(level, now, json ? toJson(level, now, args) : toText(level, now, format(args[0], ...args.slice(1))));
}

/** An error that the runtime reports itself, such as `Invoke Error`. The JSON format has no place for the label. */
function logError(label, error) {
  if (json) console.error(isError(error) ? error : new Error(String(error)));
  else console.error(label, `\t${toLogText(error)}`);
}

function toText(level, now, message) {
  return `${now.toISOString()}\t${scope.requestId}\t${level}\t${message}`;
}

function toJson(level, now, args) {
  const record = { timestamp: now.toISOString(), level, requestId: scope.requestId, tenantId: scope.tenantId };
  if (args.length === 1) {
    record.message = args[0];
    try {
      return JSON.stringify(record, withErrorsAs(toJsonRecord));
    } catch {
      record.message = format(args[0]); // circular, or a BigInt
      return JSON.stringify(record);
    }
  }
  if (args.length > 1) {
    record.message = format(...args);
    const error = args.find(isError);
    if (error !== undefined) {
      const { errorType, errorMessage, stackTrace } = toJsonRecord(error);
      Object.assign(record, { errorType, errorMessage, stackTrace });
    }
  }
  return JSON.stringify(record);
}

function emit(level, now, line) {
  if (telemetryFd === -1) {
    writeFully(1, Buffer.from(`${line}\n`));
    return;
  }
  const text = json ? line : `${line}\n`;
  const length = Buffer.byteLength(text);
  const frame = Buffer.allocUnsafe(FRAME_HEAD + length);
  frame.writeUInt32BE((FRAME_MAGIC | (LEVELS[level] << 2) | (json ? FRAME_JSON : FRAME_TEXT)) >>> 0, 0);
  frame.writeUInt32BE(length, 4);
  frame.writeBigUInt64BE(BigInt(now.getTime()) * 1000n, 8);
  frame.write(text, FRAME_HEAD);
  writeFully(telemetryFd, frame);
}

/** Write all of it now, also to a pipe that is full and does not block. */
function writeFully(fd, bytes) {
  for (let offset = 0; offset < bytes.length; ) {
    try {
      offset += writeSync(fd, bytes, offset);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, EAGAIN_PAUSE_MS);
    }
  }
}

module.exports = { install, logError, scope };
