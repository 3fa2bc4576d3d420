'use strict';
// The Node.js runtime of the process executor: `node bootstrap.cjs`, configured by the variables AWS sets
// (AWS_LAMBDA_RUNTIME_API, _HANDLER, LAMBDA_TASK_ROOT, AWS_EXECUTION_ENV, …).
//
// CommonJS, because starting as an ES module costs 3 ms. What only some functions need is loaded when they need it.

const { UnhandledPromiseRejection, RuntimeError } = require('./errors.cjs');
const { CallbackInvoker, PromiseInvoker, createContext, serialize } = require('./invocation.cjs');
const { InvokeStore } = require('./invoke_store.cjs');
const logging = require('./logging.cjs');
const { RuntimeApi } = require('./runtime_api.cjs');
const { loadHandler } = require('./user_function.cjs');

/** The marks of a streaming handler; wrappers such as tracing layers look for them and copy them. */
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');
const STREAMING_RESPONSE = 'response';
const HIGH_WATER_MARK = Symbol.for('aws.lambda.runtime.handler.streaming.highWaterMark');
const EXIT_INIT_ERROR = 1;
const EXIT_UNFINISHED_INIT = 13; // Node.js's own code for a top-level await that nothing will ever resolve
const EXIT_UNHANDLED_REJECTION = 128;
const EXIT_UNCAUGHT_EXCEPTION = 129;
const FIRST_MAJOR_WITHOUT_CALLBACKS = 24;

const env = process.env;
/** The runtime that was asked for decides; the interpreter may be another one, with a warning of the executor. */
const major = Number(/nodejs(\d+)/.exec(env.AWS_EXECUTION_ENV ?? '')?.[1] ?? process.versions.node.split('.')[0]);
const callbacks = major < FIRST_MAJOR_WITHOUT_CALLBACKS;
const api = new RuntimeApi(env.AWS_LAMBDA_RUNTIME_API);
const store = new InvokeStore();

let initialised = false;
let ending = false;
let finishStream = null; // ends the streamed response under way with an error
let requestId; // of the invocation that has not been answered

function setModulePath() {
  if (env.NODE_PATH !== undefined) return;
  env.NODE_PATH = [
    `/opt/nodejs/node${major}/node_modules`,
    '/opt/nodejs/node_modules',
    '/var/runtime/node_modules',
    '/var/runtime',
    env.LAMBDA_TASK_ROOT,
  ].join(':');
  require('node:module')._initPaths(); // Node.js reads the variable once, before this file runs
}

function setGlobals() {
  globalThis.awslambda = {
    ...globalThis.awslambda, // a module of NODE_OPTIONS may have been here first
    streamifyResponse(handler, options) {
      handler[STREAMING] = STREAMING_RESPONSE;
      handler[HIGH_WATER_MARK] = options?.highWaterMark;
      return handler;
    },
    HttpResponseStream: {
      from: (stream, metadata) => require('./streaming.cjs').HttpResponseStream.from(stream, metadata),
    },
  };
  if (!['1', 'true'].includes(env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) globalThis.awslambda.InvokeStore = store;
}

/** Report an error that ends the process to whoever waits for this environment, then end it. */
async function end(label, error, exitCode) {
  if (ending) return;
  ending = true;
  logging.logError(label, error);
  try {
    if (!initialised) await api.failInit(error);
    else if (finishStream !== null) await finishStream(error);
    else if (requestId !== undefined) await api.fail(requestId, error);
  } finally {
    process.exit(exitCode);
  }
}

function watchForErrors() {
  if (!callbacks) return; // nodejs24.x leaves them to Node.js, which ends the process: Runtime.ExitError
  process.on('uncaughtException', (error) => end('Uncaught Exception', error, EXIT_UNCAUGHT_EXCEPTION));
  process.on('unhandledRejection', (reason, promise) =>
    end('Unhandled Promise Rejection', new UnhandledPromiseRejection(reason, promise), EXIT_UNHANDLED_REJECTION),
  );
}

function requireSupported(handler) {
  if (callbacks || handler[STREAMING] === STREAMING_RESPONSE || handler.length < 3) return handler;
  throw new RuntimeError(
    'Runtime.CallbackHandlerDeprecated',
    'ERROR: AWS Lambda has removed support for callback-based function handlers starting with Node.js 24. You need to modify ' +
      'this function to use a supported handler signature to use Node.js 24 or later. For more information see ' +
      'https://docs.aws.amazon.com/lambda/latest/dg/nodejs-handler.html.',
  );
}

async function invokeBuffered(invoker, handler, body, context) {
  let response;
  try {
    api.unref();
    response = serialize(await invoker.run(handler, JSON.parse(body.toString()), context), callbacks);
  } catch (error) {
    if (ending) return;
    logging.logError('Invoke Error', error);
    await api.fail(requestId, error);
    return;
  }
  if (!ending) await api.respond(requestId, response);
}

async function invokeStreaming(handler, body, context) {
  const { ResponseStream, runStreaming } = require('./streaming.cjs');
  const stream = new ResponseStream(api, requestId, handler[HIGH_WATER_MARK]);
  finishStream = (error) => stream.finish(error);
  const failure = await runStreaming(stream, handler, body, context);
  if (ending) return;
  if (failure !== undefined) logging.logError('Invoke Error', failure.error);
  await stream.finish(failure?.error);
  finishStream = null;
}

/** Answer events for ever. Plain callbacks, because an awaiting caller would be in every stack trace of the function. */
function serve(handler) {
  const invoker = callbacks ? new CallbackInvoker() : new PromiseInvoker();
  const streaming = handler[STREAMING] === STREAMING_RESPONSE;
  const onEvent = ({ headers, body }) => {
    requestId = headers['lambda-runtime-aws-request-id'];
    const traceId = headers['lambda-runtime-trace-id'];
    const tenantId = headers['lambda-runtime-aws-tenant-id'];
    logging.scope.requestId = requestId;
    logging.scope.tenantId = tenantId;
    if (traceId === undefined) delete env._X_AMZN_TRACE_ID;
    else env._X_AMZN_TRACE_ID = traceId;
    store.enter(requestId, traceId, tenantId);
    const context = createContext(headers, env, callbacks);
    return streaming ? invokeStreaming(handler, body, context) : invokeBuffered(invoker, handler, body, context);
  };
  const waitForEvent = () => {
    if (ending) return;
    requestId = undefined;
    api.next().then(onEvent).then(waitForEvent).catch(onLostRuntimeApi);
  };
  waitForEvent();
}

/** The Runtime API is gone or does not answer as one: this environment is over. */
function onLostRuntimeApi(error) {
  if (ending) return;
  process.stderr.write(`${error.message}\n`);
  process.exit(EXIT_INIT_ERROR);
}

async function main() {
  logging.install(env, callbacks ? undefined : '-');
  setModulePath();
  setGlobals();
  watchForErrors();
  const onEmptyLoop = () => (process.exitCode = EXIT_UNFINISHED_INIT);
  process.on('beforeExit', onEmptyLoop);
  let handler;
  try {
    handler = requireSupported(await loadHandler(env.LAMBDA_TASK_ROOT, env._HANDLER));
  } catch (error) {
    await (callbacks ? end('Uncaught Exception', error, EXIT_UNCAUGHT_EXCEPTION) : end('Init Error', error, EXIT_INIT_ERROR));
    return;
  }
  process.off('beforeExit', onEmptyLoop);
  setImmediate(() => {
    // A rejection that the function's module left behind was reported by now: it belongs to the init phase.
    if (ending) return;
    initialised = true;
    serve(handler);
  });
}

main().catch(onLostRuntimeApi);
