/*
 * Types of gwclient.js, for editors and TypeScript.
 *
 * SPDX-License-Identifier: MIT
 */

/** Times are in milliseconds. */
interface GwClientOptions {
  /** Silence after which the server is asked whether it is there; 25000. */
  heartbeat?: number;
  /** Without an answer for so long the link is dead; 10000. */
  timeout?: number;
  /** First wait before a reconnect; 500. */
  backoffMin?: number;
  /** Longest wait; 30000. */
  backoffMax?: number;
}

type GwClientState = "connecting" | "open" | "waiting" | "closed";

/** A websocket that stays: heartbeat, reconnect with back-off and jitter, JSON. */
declare class GwClient {
  /** @param url ws:// or wss:// address of a gateway */
  constructor(url: string, options?: GwClientOptions);

  readonly url: string;
  readonly options: Required<GwClientOptions>;

  /** The connection stands, for the first time or again. */
  on(event: "open", handler: () => void): this;
  /** A message came, parsed from JSON. */
  on(event: "message", handler: (message: any) => void): this;
  /** How the connection is; with "waiting": for how long. */
  on(event: "state", handler: (state: GwClientState, waitMs?: number) => void): this;

  /** Send an object as JSON. False when there is no connection: nothing was sent. */
  send(message: unknown): boolean;

  /** Disconnect for good. */
  close(): void;
}
