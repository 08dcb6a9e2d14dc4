-- What gwrun runs; "gwrun check" says whether this file is right. Relative paths
-- start at the folder above conf/.
return {
  -- The password between these processes. A service gets it from systemd, which may
  -- read what the service's user may not.
  secret_key_file = (os.getenv "CREDENTIALS_DIRECTORY" or "conf") .. "/secret",

  register = { listen = "127.0.0.1:1237" },

  gateways = {
    {
      name = "Web",
      listen = "websocket://0.0.0.0:8283",
      count = 2, -- processes
      start_port = 2900, -- where workers reach them, and one more for each process
      www = "www",
      -- Programs push by HTTP requests to the same port, with a key of this file.
      api = { keys_file = "conf/api-keys" },
      max_message = 1024, -- visitors only listen
    },
  },

  workers = { name = "Worker", count = 2, script = "scripts/events.lua" },
}
