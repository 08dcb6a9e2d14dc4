-- What a client says goes to a broker: "lamp on" becomes the message "on" of the topic
-- from/lamp. 消息转发到 MQTT。
local mqtt = require "mqtt"

Events = {}

local broker -- the worker's connection, made when it is needed first
local under_way -- a ticket, while one is being made

local function connect()
  under_way = gwrun.ticket()
  local client, message, code = mqtt.connect {
    host = os.getenv "MQTT_HOST" or "127.0.0.1",
    port = tonumber(os.getenv "MQTT_PORT"),
    tls = os.getenv "MQTT_TLS" == "1",
    ca_file = os.getenv "MQTT_CA_FILE",
    username = os.getenv "MQTT_USER",
    password = os.getenv "MQTT_PASSWORD",
  }
  broker = client
  under_way:set()
  under_way = nil
  return client, message, code
end

-- Handlers of many clients ask at once, and one of them connects.
local function find_broker()
  while under_way do under_way:wait(20) end
  if broker and not broker.lost then return broker end
  return connect()
end

function Events.onMessage(client_id, line)
  local topic, payload = line:match "^([%w/]+) (.+)$"
  if not topic then return Gateway.sendToClient(client_id, "TOPIC MESSAGE, please") end
  local client, message = find_broker()
  local ok
  if client then ok, message = client:publish("from/" .. topic, payload, { qos = 1 }) end
  Gateway.sendToClient(client_id, ok and "published" or "failed: " .. message)
end
