-- What gwrun runs; "gwrun check" says whether this file is right. Relative paths
-- start at the folder above conf/.
return {
  -- The password between these processes. A service gets it from systemd, which may
  -- read what the service's user may not.
  secret_key_file = (os.getenv "CREDENTIALS_DIRECTORY" or "conf") .. "/secret",

  register = { listen = "127.0.0.1:1237" },

  gateways = {
    {
      name = "Operators",
      listen = "websocket://127.0.0.1:8283", -- who reaches it sees and commands all
      start_port = 2900, -- where workers reach it
      workers = "Operators",
      www = "www",
    },
    {
      name = "Devices",
      listen = "text://0.0.0.0:8284", -- lines; with tls = { … } where others can listen
      start_port = 2910,
      workers = "Devices",
      max_message = 4096,
      -- A device that said nothing for 60 seconds is offline.
      ping_interval = 30,
      ping_not_response_limit = 2,
    },
  },

  workers = {
    { name = "Operators", script = "scripts/operators.lua" },
    { name = "Devices", count = 2, script = "scripts/events.lua" },
  },
}
