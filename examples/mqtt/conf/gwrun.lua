-- Lines of clients go to a broker of MQTT.
return {
  register = { listen = "127.0.0.1:1309" },
  gateways = {
    { name = "Lines", listen = "text://0.0.0.0:8309", start_port = 3900 },
  },
  workers = { name = "Lines", script = "scripts/events.lua", count = 1 },
}
