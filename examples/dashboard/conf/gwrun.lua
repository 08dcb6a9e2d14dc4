-- The dashboard: one page, two workers that share what they measured.
return {
  register = { listen = "127.0.0.1:1302" },
  gateways = {
    {
      name = "Dashboard",
      listen = "websocket://0.0.0.0:8302",
      start_port = 3200,
      www = "www",
      client_ping = '{"type":"ping"}',
      client_pong = '{"type":"pong"}',
    },
  },
  workers = { name = "Dashboard", count = 2, script = "scripts/events.lua" },
}
