-- What gwrun runs; "gwrun check" says whether this file is right. Relative paths
-- start at the folder above conf/.
return {
  -- The password between these processes: without one every user of the machine
  -- could send commands to their ports. A file that only you can read, with one line.
  -- A service gets it from systemd, which may read what the service's user may not.
  secret_key_file = (os.getenv "CREDENTIALS_DIRECTORY" or "conf") .. "/secret",

  -- Tells workers where the gateways are.
  register = { listen = "127.0.0.1:1237" },

  -- Hold the clients' connections. "gwrun restart" to change them.
  gateways = {
    {
      name = "Web",
      listen = "websocket://0.0.0.0:8283", -- also wss://, text://, frame://, tcp://
      count = 2, -- processes
      start_port = 2900, -- where workers reach them, and one more for each process
      www = "www", -- files that browsers get from the same port
    },
  },

  -- Run the script. "gwrun reload" after every change of it.
  workers = { name = "Worker", count = 2, script = "scripts/events.lua" },
}
