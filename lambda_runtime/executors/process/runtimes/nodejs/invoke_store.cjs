'use strict';
// globalThis.awslambda.InvokeStore, the interface of @aws/lambda-invoke-store (AWS's SDK and Powertools look it up there).

const PROTECTED_KEYS = {
  REQUEST_ID: Symbol.for('_AWS_LAMBDA_REQUEST_ID'),
  X_RAY_TRACE_ID: Symbol.for('_AWS_LAMBDA_X_RAY_TRACE_ID'),
  TENANT_ID: Symbol.for('_AWS_LAMBDA_TENANT_ID'),
};

/** Values of the invocation under way. One invocation runs at a time, so no asynchronous context has to be tracked. */
class InvokeStore {
  static PROTECTED_KEYS = PROTECTED_KEYS;
  #context;

  /** Begin an invocation with an empty store. */
  enter(requestId, traceId, tenantId) {
    this.#context = {
      [PROTECTED_KEYS.REQUEST_ID]: requestId,
      [PROTECTED_KEYS.X_RAY_TRACE_ID]: traceId,
      [PROTECTED_KEYS.TENANT_ID]: tenantId,
    };
  }

  run(context, fn) {
    this.#context = { ...context };
    return fn();
  }

  getContext() {
    return this.#context;
  }

  hasContext() {
    return this.#context !== undefined;
  }

  get(key) {
    return this.#context?.[key];
  }

  set(key, value) {
    if (Object.values(PROTECTED_KEYS).includes(key)) {
      throw new Error(`Cannot modify protected Lambda context field: ${String(key)}`);
    }
    this.#context ??= {};
    this.#context[key] = value;
  }

  getRequestId() {
    return this.get(PROTECTED_KEYS.REQUEST_ID) ?? '-';
  }

  getXRayTraceId() {
    return this.get(PROTECTED_KEYS.X_RAY_TRACE_ID);
  }

  getTenantId() {
    return this.get(PROTECTED_KEYS.TENANT_ID);
  }
}

module.exports = { InvokeStore };
