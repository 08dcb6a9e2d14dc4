-- The chat: one page, two workers, accounts and history in MySQL.
return {
  register = { listen = "127.0.0.1:1301" },
  gateways = {
    {
      name = "Chat",
      listen = "websocket://0.0.0.0:8301",
      start_port = 3100,
      www = "www",
      client_ping = '{"type":"ping"}',
      client_pong = '{"type":"pong"}',
      max_message = 16384, -- nobody types more
    },
  },
  workers = { name = "Chat", count = 2, script = "scripts/events.lua" },
}
