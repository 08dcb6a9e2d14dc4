/*
 * The market: asks for each symbol of the page and shows its last quote. The
 * connection is gwclient.js, the other side scripts/quotes.lua.
 *
 * SPDX-License-Identifier: MIT
 */
"use strict";

const rows = new Map([...document.querySelectorAll("[data-symbol]")]
  .map((row) => [row.dataset.symbol, row.querySelector("output")]));

const client = new GwClient(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`);
client.on("open", () => {
  for (const symbol of rows.keys()) client.send({ watch: symbol });
});
client.on("message", (m) => {
  const output = rows.get(m.symbol);
  if (!output) return;
  if (m.type === "quote") output.textContent = m.price.toFixed(2);
  else if (m.type === "halt") output.textContent = "halted";
});
