'use strict';
// The forms that errors take on their way out: the Runtime API's body, a line in the log, the X-Ray cause.
// All of them were compared with aws-lambda-ric 3.3.0 and 4.0.2.

class RuntimeError extends Error {
  /** An error of the runtime, not of the function: `name` is what the caller sees as errorType. */
  constructor(name, message) {
    super(message);
    Object.defineProperty(this, 'name', { value: name, configurable: true, writable: true });
  }
}

class UnhandledPromiseRejection extends RuntimeError {
  constructor(reason, promise) {
    super('Runtime.UnhandledPromiseRejection', describe(reason));
    this.reason = reason;
    this.promise = promise;
  }
}

/** Duck-typed, as on AWS: errors of another realm and hand-made ones count. */
function isError(value) {
  return (
    value instanceof Error ||
    (typeof value === 'object' && value !== null && [value.name, value.message, value.stack].every((part) => typeof part === 'string'))
  );
}

function describe(value) {
  try {
    return String(value);
  } catch {
    return Object.prototype.toString.call(value); // an object without toString
  }
}

function stackLines(error) {
  return typeof error.stack === 'string' ? error.stack.split('\n') : [];
}

/** The body that goes to the Runtime API. */
function toPayload(error) {
  if (isError(error)) {
    return { errorType: String(error.name), errorMessage: String(error.message), trace: stackLines(error) };
  }
  return { errorType: typeof error, errorMessage: describe(error), trace: [] };
}

function withErrorsAs(convert) {
  return (key, value) => (isError(value) ? convert(value) : value);
}

function toTextRecord(error) {
  const { code, ...properties } = error;
  return { errorType: error.name, errorMessage: error.message, code, ...properties, stack: stackLines(error) };
}

function toJsonRecord(error) {
  return { errorType: error.name, errorMessage: error.message, stackTrace: stackLines(error), ...error };
}

/** One JSON text for the text log; an error inside a property is written in the same way. */
function toLogText(thrown) {
  const error = isError(thrown) ? thrown : new Error(describe(thrown));
  try {
    return JSON.stringify(toTextRecord(error), withErrorsAs(toTextRecord));
  } catch {
    return JSON.stringify(toPayload(error)); // circular, a BigInt, or a toJSON that throws
  }
}

/** The value of Lambda-Runtime-Function-XRay-Error-Cause; printable ASCII, because it is a header. */
function toXRayCause(error) {
  const exceptions = [];
  const paths = new Set();
  if (isError(error)) {
    const stack = [];
    for (const line of stackLines(error)) {
      const frame = /^\s*at (?:(.+) \()?(.+?):(\d+):\d+\)?$/.exec(line);
      if (frame === null) continue;
      stack.push({ path: frame[2], line: Number(frame[3]), label: frame[1] ?? 'anonymous' });
      paths.add(frame[2]);
    }
    exceptions.push({ type: error.name, message: error.message, stack });
  } else {
    exceptions.push({ stack: [] });
  }
  const cause = { working_directory: process.cwd(), exceptions, paths: [...paths] };
  const text = JSON.stringify(cause).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
  return text.length < 32 * 1024 ? text : undefined; // a header of this size would be refused
}

module.exports = { RuntimeError, UnhandledPromiseRejection, describe, isError, toJsonRecord, toLogText, toPayload, toXRayCause, withErrorsAs };
