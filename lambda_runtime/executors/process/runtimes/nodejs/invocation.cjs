'use strict';
// One event and what a function makes of it, buffered. Two generations: up to nodejs22.x a handler may answer through a
// callback, the context's functions or an empty event loop; from nodejs24.x on only by what it returns.

const { RuntimeError } = require('./errors.cjs');

/** What the handler gets as `context`; the order of its members is AWS's. */
function createContext(headers, env, callbacks) {
  const deadline = Number(headers['lambda-runtime-deadline-ms']);
  const fixed = {
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
  };
  const invoked = {
    clientContext: parseHeader(headers, 'lambda-runtime-client-context'),
    identity: parseHeader(headers, 'lambda-runtime-cognito-identity'),
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    tenantId: headers['lambda-runtime-aws-tenant-id'],
  };
  const getRemainingTimeInMillis = () => deadline - Date.now();
  if (callbacks) return { callbackWaitsForEmptyEventLoop: true, ...fixed, ...invoked, getRemainingTimeInMillis };
  return { ...invoked, xRayTraceId: headers['lambda-runtime-trace-id'], getRemainingTimeInMillis, ...fixed };
}

function parseHeader(headers, name) {
  return headers[name] ? JSON.parse(headers[name]) : undefined;
}

function isThenable(value) {
  return typeof value?.then === 'function';
}

/**
 * Calls handlers of the callback generation.
 *
 * `run` settles once, with the first of: the returned promise, the callback, `context.done/succeed/fail`, or the event loop
 * running empty, which means null, or what the callback was given while `callbackWaitsForEmptyEventLoop` holds it back.
 * It throws what the handler throws at once.
 */
class CallbackInvoker {
  #onEmptyLoop = null;

  constructor() {
    process.on('beforeExit', () => this.#onEmptyLoop?.());
  }

  run(handler, event, context) {
    let resolve, reject; // no executor: its frames would be in the function's stack traces
    const settled = new Promise((...settle) => ([resolve, reject] = settle));
    let result; // held back until the event loop is empty
    let called = false;
    this.#onEmptyLoop = () => resolve(result);
    const fail = (error) => reject(error ?? 'handled');
    context.succeed = resolve;
    context.fail = fail;
    context.done = (error, value) => (error === undefined || error === null ? resolve(value) : reject(error));
    const callback = (error, value) => {
      if (called) return;
      called = true;
      if (error !== undefined && error !== null) reject(error);
      else if (context.callbackWaitsForEmptyEventLoop) result = value;
      else resolve(value);
    };
    const returned = handler(event, context, callback);
    if (isThenable(returned)) returned.then(resolve, fail);
    return settled;
  }
}

class PromiseInvoker {
  run(handler, event, context) {
    return handler(event, context);
  }
}

/** The JSON text of a result; a function that returned nothing answers null. */
function serialize(result, callbacks) {
  let text;
  try {
    text = JSON.stringify(result === undefined ? null : result);
  } catch {
    throw new RuntimeError(callbacks ? 'Error' : 'Runtime.JSONStringifyError', 'Unable to stringify response body');
  }
  if (text === undefined) throw new TypeError('Wrong arguments'); // a function or a symbol; AWS's words
  return text;
}

module.exports = { CallbackInvoker, PromiseInvoker, createContext, isThenable, serialize };
