-- What gwrun runs. docs/configuration.md lists every key; "gwrun check" says
-- whether this file is right. Relative paths start at the folder above conf/.
return {
  -- Tells workers where the gateways are. One per system is enough.
  register = { listen = "127.0.0.1:1237" },

  -- Hold the clients' connections. "gwrun restart" to change them.
  gateways = {
    {
      name = "ChatGateway",
      listen = "websocket://0.0.0.0:8283", -- also wss://, text://, frame://, tcp://
      count = 2, -- processes
      lan_ip = "127.0.0.1", -- where workers reach them, at …
      start_port = 2900, -- … this port, and one more for each process
      www = "www", -- files that browsers get from the same port
      client_ping = '{"type":"ping"}', -- the page's heartbeat, which
      client_pong = '{"type":"pong"}', -- … the gateway answers by itself
    },
    {
      name = "TelnetGateway",
      listen = "text://127.0.0.1:8284",
      lan_ip = "127.0.0.1",
      start_port = 2950,
    },
  },

  -- Run the script. "gwrun reload" after every change of it.
  workers = {
    name = "ChatWorker",
    count = 2,
    script = "scripts/events.lua",
  },

  -- The registers that gateways and workers join.
  register_address = { "127.0.0.1:1237" },
}
