/*
 * A client that stays connected: heartbeat, reconnect with back-off and jitter,
 * JSON messages. The chat page uses it; copy it into your own.
 *
 * Its heartbeat is {"type":"ping"} after some silence. The gateway answers it by
 * itself with client_ping = '{"type":"ping"}', client_pong = '{"type":"pong"}' in
 * conf/gwrun.lua. A server that never answers it is never given up for its silence.
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
   * @param {number} [options.heartbeat=25000]  silence after which the server is asked
   * @param {number} [options.timeout=10000]    without an answer the link is dead
   * @param {number} [options.backoffMin=500]   first wait before a reconnect
   * @param {number} [options.backoffMax=30000] longest wait
   */
  constructor(url, options = {}) {
    this.url = url;
    this.options = { heartbeat: 25000, timeout: 10000, backoffMin: 500, backoffMax: 30000, ...options };
    this.handlers = {};
    this.failures = 0;
    this.wanted = true;
    this.answers = false; // whether this server has ever answered a heartbeat
    // A tab that wakes up, or a network that returns, should not wait out the
    // back-off, and wants to know at once whether the link still lives.
    this.wake = () => {
      if (this.retryTimer) this.connect();
      else if (!document.hidden) this.ask();
    };
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
    this.asked = 0; // heartbeats that were sent since something was heard
    this.beatAfter(this.options.timeout);
    this.emit("state", "connecting");
    // A socket that was given up on may still speak: it is not ours any more.
    socket.onopen = () => socket === this.socket && this.opened();
    socket.onclose = () => socket === this.socket && this.disconnected();
    socket.onmessage = (event) => socket === this.socket && this.received(event.data);
  }

  opened() {
    this.failures = 0;
    this.beatAfter(this.options.heartbeat);
    this.emit("state", "open");
    this.emit("open");
  }

  received(data) {
    this.asked = 0;
    this.quiet = false;
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // not for us: the server may also speak to clients of another kind
    }
    if (message?.type === "pong") this.answers = true;
    else this.emit("message", message);
  }

  /** Call beat() after so much time and not earlier. */
  beatAfter(ms) {
    clearTimeout(this.beatTimer);
    this.beatDue = Date.now() + ms;
    this.beatTimer = setTimeout(() => this.beat(), ms);
    this.quiet = true; // until something is heard
  }

  /** Ask whether the server is there, and wait for the answer. */
  ask() {
    if (this.send({ type: "ping" })) this.asked++;
    this.beatAfter(this.options.timeout);
  }

  beat() {
    // Browsers slow the timers of hidden tabs, and computers sleep: then nobody
    // has listened either, and an answer may be on its way. Ask again.
    const late = Date.now() - this.beatDue > 1000;
    const connecting = this.socket.readyState === WebSocket.CONNECTING;
    const dead = connecting ? !late : this.answers && this.asked >= (late ? 3 : 1);
    if (!this.quiet) this.beatAfter(this.options.heartbeat);
    else if (dead) this.disconnected();
    else this.ask();
  }

  disconnected() {
    clearTimeout(this.beatTimer);
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
