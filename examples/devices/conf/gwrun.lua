-- Devices on one port, their operators' web page on another.
return {
  register = { listen = "127.0.0.1:1303" },
  gateways = {
    {
      name = "Operators",
      listen = "websocket://0.0.0.0:8303",
      start_port = 3300,
      www = "www",
      client_ping = '{"type":"ping"}',
      client_pong = '{"type":"pong"}',
    },
    {
      name = "Devices",
      listen = "frame://0.0.0.0:8304", -- with tls = { … } where others can listen
      start_port = 3350,
      max_message = 4096,
      -- A device that said nothing for three intervals is offline.
      ping_interval = 4,
      ping_not_response_limit = 2,
    },
  },
  workers = { name = "Devices", count = 2, script = "scripts/events.lua" },
}
