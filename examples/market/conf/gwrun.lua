-- The market: a program that publishes quotes, workers for those who watch them,
-- and workers of another kind for the desk that may halt trading.
local feed = os.getenv "MARKET_FEED" -- wss://…: relay that one; else make quotes up

return {
  register = { listen = "127.0.0.1:1305" },
  gateways = {
    {
      name = "Quotes",
      listen = "websocket://0.0.0.0:8305",
      start_port = 3500,
      www = "www",
      client_ping = '{"type":"ping"}',
      client_pong = '{"type":"pong"}',
      workers = "Quotes",
    },
    {
      name = "Desk",
      listen = "text://127.0.0.1:8306",
      start_port = 3510,
      workers = "Desk",
    },
  },
  workers = {
    { name = "Quotes", script = "scripts/quotes.lua", count = 2 },
    { name = "Desk", script = "scripts/desk.lua" },
  },
  programs = {
    feed and { name = "relay", file = "scripts/relay.lua", args = { feed, "EURUSD", "XAUUSD" } }
      or { name = "feed", file = "scripts/feed.lua", args = { "EURUSD", "XAUUSD" } },
  },
}
