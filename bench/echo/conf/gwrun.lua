-- One worker; bench/run and bench/million set the environment.
local port = math.tointeger(os.getenv "BENCH_PORT")

return {
  register = { listen = "127.0.0.1:" .. port + 1 },
  gateways = {
    {
      name = "BenchGateway",
      listen = "websocket://127.0.0.1:" .. port,
      lan_ip = "127.0.0.1",
      start_port = port + 4,
      count = math.tointeger(os.getenv "BENCH_GATEWAYS" or 1),
      ping_interval = 0,
      idle_timeout = 0,
    },
  },
  workers = { name = "BenchWorker", script = "scripts/" .. os.getenv "BENCH_SCRIPT" },
  register_address = "127.0.0.1:" .. port + 1,
}
