'use strict';
// Streamed responses: the stream that a handler writes into, and the HTTP prelude in front of it.

const { Writable } = require('node:stream');
const { RuntimeError } = require('./errors.cjs');
const { isThenable } = require('./invocation.cjs');

const HTTP_INTEGRATION = 'application/vnd.awslambda.http-integration-response';
const PRELUDE_END = Buffer.alloc(8);

/** Takes strings, bytes, and objects (as JSON), and sends each write as one chunk at once. */
class ResponseStream extends Writable {
  #api;
  #requestId;
  #contentType = 'application/octet-stream';
  #started = false;
  #closed = false; // `writable.closed` is Node.js 18 and newer
  #beforeFirstWrite = null;

  constructor(api, requestId, highWaterMark) {
    super({ highWaterMark });
    this.#api = api;
    this.#requestId = requestId;
    this.once('close', () => (this.#closed = true));
  }

  setContentType(contentType) {
    if (this.#started) throw new RuntimeError('Runtime.InvalidStreamingOperation', 'Cannot set content-type, too late.');
    this.#contentType = contentType;
  }

  /** For HttpResponseStream: `hook` gets a function that writes in front of everything else. */
  _onBeforeFirstWrite(hook) {
    this.#beforeFirstWrite = hook;
  }

  write(chunk, encoding, callback) {
    if (this.#beforeFirstWrite !== null) {
      const hook = this.#beforeFirstWrite; // not in _write: on AWS a stream that is only ended has no prelude
      this.#beforeFirstWrite = null;
      hook((bytes) => super.write(bytes));
    }
    const plain = typeof chunk === 'string' || chunk === null || ArrayBuffer.isView(chunk);
    return super.write(plain ? chunk : JSON.stringify(chunk), encoding, callback);
  }

  end(chunk, encoding, callback) {
    const plain = chunk === undefined || chunk === null || typeof chunk !== 'object' || ArrayBuffer.isView(chunk);
    return super.end(plain ? chunk : JSON.stringify(chunk), encoding, callback);
  }

  _write(chunk, encoding, callback) {
    this.#start();
    if (chunk.length === 0) callback(); // an empty chunk would end the response
    else this.#api.writeChunk(chunk, callback);
  }

  /** Send what is still buffered, then what ends the response; resolves when the Runtime API took it. */
  async finish(error) {
    if (!this.#closed) {
      const closed = new Promise((resolve) => this.once('close', resolve));
      if (!this.writableEnded) super.end();
      await closed;
    }
    this.#start();
    await this.#api.endStream(error);
  }

  #start() {
    if (this.#started) return;
    this.#started = true;
    this.#api.startStream(this.#requestId, this.#contentType);
  }
}

const HttpResponseStream = {
  /** Give a stream a status code and headers: `metadata` goes in front of the body, ended by eight NUL bytes. */
  from(stream, metadata) {
    stream.setContentType(HTTP_INTEGRATION);
    const prelude = JSON.stringify(metadata);
    stream._onBeforeFirstWrite((write) => {
      write(prelude);
      write(PRELUDE_END);
    });
    return stream;
  },
};

/**
 * Run a streaming handler. Resolves with `{ error }` when it failed, with undefined when it did not.
 *
 * A response is over when the handler's promise is settled and the stream is ended; AWS waits for both.
 */
async function runStreaming(stream, handler, body, context) {
  const closed = new Promise((resolve, reject) => stream.on('close', resolve).on('error', reject));
  closed.catch(() => {}); // it is also awaited below, but perhaps never: the handler's own error comes first
  try {
    const returned = handler(JSON.parse(body.toString()), stream, context);
    if (!isThenable(returned)) throw new Error('Streaming does not support non-async handlers.');
    const value = await Promise.race([returned, closed.then(() => returned)]);
    if (value !== undefined) console.warn('Streaming handlers ignore return values.');
    await closed;
  } catch (error) {
    return { error };
  }
  return undefined;
}

module.exports = { HttpResponseStream, ResponseStream, runStreaming };
