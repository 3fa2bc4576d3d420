'use strict';
// A client of the Lambda Runtime API on one keep-alive socket.
//
// Written over node:net because an invoke is two small requests, one after the other, and this is all the HTTP they need:
// node:http costs another 2 ms at start and more per request. One request at a time; nobody else uses the socket.

const { Socket } = require('node:net');
const { toPayload, toXRayCause } = require('./errors.cjs');

const PREFIX = '/2018-06-01/runtime';
const END_OF_HEAD = Buffer.from('\r\n\r\n');

class RuntimeApi {
  #host;
  #port;
  #authority;
  #nextHead;
  #socket = null;
  #received = null; // bytes of an answer that is not complete yet
  #waiting = null; // { resolve, reject } of the request under way

  constructor(address) {
    const colon = address.lastIndexOf(':');
    this.#host = address.slice(0, colon);
    this.#port = Number(address.slice(colon + 1));
    this.#authority = address;
    this.#nextHead = `GET ${PREFIX}/invocation/next HTTP/1.1\r\nHost: ${address}\r\n\r\n`;
  }

  /** Wait for the next event. The answer's `headers` have lower-case names; `body` is bytes. */
  async next() {
    const answer = await this.#request(this.#nextHead);
    if (answer.status !== 200) throw new Error(`The Runtime API answered ${answer.status} to next`);
    return answer;
  }

  /** Post the function's response, a JSON text. */
  respond(requestId, body) {
    return this.#request(this.#post(`/invocation/${requestId}/response`, '', body));
  }

  fail(requestId, error) {
    const payload = toPayload(error);
    const cause = toXRayCause(error);
    const extra = errorTypeHeader(payload) + (cause === undefined ? '' : `Lambda-Runtime-Function-XRay-Error-Cause: ${cause}\r\n`);
    return this.#request(this.#post(`/invocation/${requestId}/error`, extra, JSON.stringify(payload)));
  }

  failInit(error) {
    const payload = toPayload(error);
    return this.#request(this.#post('/init/error', errorTypeHeader(payload), JSON.stringify(payload)));
  }

  /** Begin a streamed response; chunks and `endStream` follow. */
  startStream(requestId, contentType) {
    this.#write(
      `POST ${PREFIX}/invocation/${requestId}/response HTTP/1.1\r\nHost: ${this.#authority}\r\n` +
        `Content-Type: ${oneLine(contentType)}\r\nLambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n` +
        'Trailer: Lambda-Runtime-Function-Error-Type\r\nTrailer: Lambda-Runtime-Function-Error-Body\r\n\r\n',
    );
  }

  /** Send one chunk; `callback` is called when the socket took it, which is the back-pressure. */
  writeChunk(bytes, callback) {
    const socket = this.#socket;
    if (socket === null) return callback(new Error('The Runtime API closed the connection'));
    socket.cork();
    socket.write(`${bytes.length.toString(16)}\r\n`, 'latin1');
    socket.write(bytes);
    socket.write('\r\n', 'latin1', callback);
    socket.uncork();
  }

  /** End the streamed response, with an error's trailers if there is one. */
  endStream(error) {
    let trailers = '';
    if (error !== undefined) {
      const payload = toPayload(error);
      const body = Buffer.from(JSON.stringify(payload)).toString('base64');
      trailers = `${errorTypeHeader(payload)}Lambda-Runtime-Function-Error-Body: ${body}\r\n`;
    }
    return this.#request(`0\r\n${trailers}\r\n`);
  }

  /** Let the process see an empty event loop while a function runs: the socket alone must not keep it alive. */
  unref() {
    this.#socket?.unref();
  }

  #post(path, extra, body) {
    return (
      `POST ${PREFIX}${path} HTTP/1.1\r\nHost: ${this.#authority}\r\nContent-Type: application/json\r\n${extra}` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
    );
  }

  #request(text) {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#write(text);
    });
  }

  #write(text) {
    if (this.#socket === null) this.#connect();
    else this.#socket.ref();
    this.#socket.write(text);
  }

  #connect() {
    const socket = new Socket();
    this.#socket = socket;
    this.#received = null;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => this.#onData(bytes));
    socket.on('error', (error) => this.#onEnd(socket, error));
    socket.on('close', () => this.#onEnd(socket, new Error('The Runtime API closed the connection')));
    socket.connect(this.#port, this.#host);
  }

  #onData(bytes) {
    const received = this.#received === null ? bytes : this.#received.add(bytes);
    const answer = received instanceof PartialAnswer ? received.take() : parseAnswer(received);
    if (answer === null) {
      if (this.#received === null) this.#received = new PartialAnswer(bytes);
      return;
    }
    this.#received = null;
    const waiting = this.#waiting;
    this.#waiting = null;
    if (answer.headers.connection === 'close') {
      this.#socket.destroy();
      this.#socket = null;
    }
    waiting?.resolve(answer);
  }

  #onEnd(socket, error) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.reject(error);
  }
}

/** The pieces of an answer that needs more than one read: joined when enough is there, not at each read. */
class PartialAnswer {
  #pieces;
  #length;
  #needed;

  constructor(bytes) {
    this.#pieces = [bytes];
    this.#length = bytes.length;
    this.#needed = answerLength(bytes);
  }

  add(bytes) {
    this.#pieces.push(bytes);
    this.#length += bytes.length;
    return this;
  }

  take() {
    if (this.#length < this.#needed) return null;
    const whole = Buffer.concat(this.#pieces, this.#length);
    this.#pieces = [whole];
    this.#needed = answerLength(whole);
    return parseAnswer(whole);
  }
}

/** How long the answer that begins with these bytes will be; 0 when its head does not say. */
function answerLength(bytes) {
  const head = bytes.indexOf(END_OF_HEAD);
  if (head === -1) return 0;
  const length = parseHead(bytes, head).headers['content-length'];
  return length === undefined ? 0 : head + 4 + Number(length);
}

function parseHead(bytes, length) {
  const lines = bytes.toString('utf8', 0, length).split('\r\n');
  const headers = {};
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i];
    const colon = line.indexOf(':');
    headers[line.slice(0, colon).toLowerCase()] = line.slice(colon + 1).trim();
  }
  return { status: Number(lines[0].slice(9, 12)), headers, body: null };
}

/** The answer in these bytes, or null while it is not complete. */
function parseAnswer(bytes) {
  const head = bytes.indexOf(END_OF_HEAD);
  if (head === -1) return null;
  const answer = parseHead(bytes, head);
  const start = head + 4;
  if (answer.headers['transfer-encoding'] === 'chunked') {
    answer.body = joinChunks(bytes, start);
    return answer.body === null ? null : answer;
  }
  const end = start + Number(answer.headers['content-length'] ?? 0);
  if (bytes.length < end) return null;
  answer.body = bytes.subarray(start, end);
  return answer;
}

function joinChunks(bytes, start) {
  const chunks = [];
  for (let position = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', position);
    if (lineEnd === -1) return null;
    const size = parseInt(bytes.toString('latin1', position, lineEnd), 16);
    const next = lineEnd + 2 + size + 2;
    if (bytes.length < next) return null;
    if (size === 0) return Buffer.concat(chunks);
    chunks.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    position = next;
  }
}

function oneLine(value) {
  return String(value).replace(/[^\x20-\x7e]/g, ' ');
}

function errorTypeHeader(payload) {
  return `Lambda-Runtime-Function-Error-Type: ${oneLine(payload.errorType)}\r\n`;
}

module.exports = { RuntimeApi };
