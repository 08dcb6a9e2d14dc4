/*
 * A client that stays connected: heartbeat, reconnect with back-off and jitter,
 * JSON messages. The chat page uses it; copy it into your own.
 *
 *   const client = new GwClient("ws://127.0.0.1:8283/");
 *   client.on("open", () => client.send({ type: "say", text: "hi" }));
 *   client.on("message", (m) => console.log(m));
 *   client.on("state", (state, waitMs) => …);   // connecting, open, waiting, closed
 *
 * SPDX-License-Identifier: MIT
 */
"use strict";

class GwClient {
  /**
   * @param {string} url                ws:// or wss:// address of a gateway
   * @param {object} [options]          times are in milliseconds
   * @param {number} [options.heartbeat=2000]   between heartbeats
   * @param {number} [options.timeout=10000]    silence after which the link is dead
   * @param {number} [options.backoffMin=500]   first wait before a reconnect
   * @param {number} [options.backoffMax=30000] longest wait
   */
  constructor(url, options = {}) {
    this.url = url;
    this.options = { heartbeat: 2000, timeout: 10000, backoffMin: 500, backoffMax: 30000, ...options };
    this.handlers = {};
    this.failures = 0;
    this.wanted = true;
    // A tab that wakes up, or a network that returns, should not wait out the back-off.
    this.wake = () => { if (this.retryTimer) this.connect(); };
    window.addEventListener("online", this.wake);
    document.addEventListener("visibilitychange", this.wake);
    this.connect();
  }

  on(event, handler) {
    (this.handlers[event] ||= []).push(handler);
    return this;
  }

  /** Send an object as JSON. False when there is no connection: nothing was sent. */
  send(message) {
    if (!this.socket || this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  /** Disconnect for good. */
  close() {
    this.wanted = false;
    window.removeEventListener("online", this.wake);
    document.removeEventListener("visibilitychange", this.wake);
    this.disconnected();
  }

  emit(event, ...args) {
    for (const handler of this.handlers[event] || []) handler(...args);
  }

  connect() {
    clearTimeout(this.retryTimer);
    this.retryTimer = null;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.lastHeard = Date.now();
    this.emit("state", "connecting");
    clearInterval(this.heartbeatTimer);
    this.heartbeatTimer = setInterval(() => this.beat(), this.options.heartbeat);
    // A socket that was given up on may still speak: it is not ours any more.
    socket.onopen = () => socket === this.socket && this.opened();
    socket.onclose = () => socket === this.socket && this.disconnected();
    socket.onmessage = (event) => socket === this.socket && this.received(event.data);
  }

  opened() {
    this.failures = 0;
    this.lastHeard = Date.now();
    this.emit("state", "open");
    this.emit("open");
  }

  received(data) {
    this.lastHeard = Date.now();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // not for us: the server may also speak to clients of another kind
    }
    this.emit("message", message);
  }

  beat() {
    if (Date.now() - this.lastHeard > this.options.timeout) this.disconnected();
    else this.send({ type: "ping" });
  }

  disconnected() {
    clearInterval(this.heartbeatTimer);
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
    if (!this.wanted) {
      clearTimeout(this.retryTimer);
      this.emit("state", "closed");
      return;
    }
    // Full jitter: a thousand pages that lost one server do not return as one.
    const { backoffMin, backoffMax } = this.options;
    const ceiling = Math.min(backoffMax, backoffMin * 2 ** this.failures++);
    const wait = Math.round(backoffMin / 2 + Math.random() * ceiling);
    clearTimeout(this.retryTimer);
    this.retryTimer = setTimeout(() => this.connect(), wait);
    this.emit("state", "waiting", wait);
  }
}
