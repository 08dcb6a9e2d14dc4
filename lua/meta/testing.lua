---@meta gwrun.testing
-- What specs under "gwrun test" can use, for editors. docs/testing.md tells more.
-- Never loaded.

---@class gwrun.testing
local testing = {}

---@class testing_options
---@field script? string path of the script
---@field text? string the script itself
---@field gateways? integer|(string|table)[] how many, or a list of "websocket", "text", "frame", "tcp" or entries
---@field workers? integer
---@field config? table other keys of the configuration
---@field time? number seconds since 1970
---@field errors? "raise"|"collect"
---@field mysql? fun(sql: string, params: any[]): table|integer|nil, any
---@field redis? testing_redis|fun(command: string, ...: any): any, string?
---@field http? fun(request: testing_request): testing_response?, string?, string?

---@class testing_request
---@field method string
---@field url string
---@field headers table<string, string> names in lower case
---@field body? string

---@class testing_response
---@field status? integer 200
---@field headers? table<string, string>
---@field body? string
---@field json? any instead of body

---Start a system; the one before it ends. Raises when the script cannot be loaded.
---@param options testing_options
---@return testing_app
function testing.start(options) end

---Redis in memory.
---@return testing_redis
function testing.redis() end

---Wait, in a fake, on the app's clock.
---@param seconds number
function testing.sleep(seconds) end

---Every command is a method, in lower case: redis:set("key", "value").
---@class testing_redis
local Redis = {}

---Run a command: its reply, or nil and an error.
---@param command string
---@param ... string|number
---@return any reply, string? message
function Redis:call(command, ...) end

---@class testing_app
---@field mysql { queries: { sql: string, params: any[] }[] }
---@field redis { commands: any[][] }
---@field http { requests: testing_request[] }
local App = {}

---@class testing_connect_options
---@field path? string "/?token=x"
---@field headers? table<string, string>
---@field subprotocol? string
---@field ip? string who it seems to come from
---@field gateway? integer its number; otherwise they take turns

---A new client.
---@param options? testing_connect_options
---@return testing_client
function App:connect(options) end

---Let time pass; timers run at their times and in their order.
---@param seconds number
function App:advance(seconds) end

---The script's time, in seconds since 1970.
---@return number
function App:now() end

---What print() and Log wrote since the last call, of one level if it is given.
---@param level? "print"|"error"|"warn"|"notice"|"info"|"debug"
---@return string[]
function App:log(level) end

---What the script raised since the last call.
---@return string[]
function App:errors() end

---Run Lua text in the first worker; it finds the other arguments in "...".
---@param text string
---@param ... any plain values
---@return any ...
function App:run(text, ...) end

---Load the script again, or this text: true, or false and why the old one goes on.
---@param text? string
---@return boolean ok, string? message
function App:reload(text) end

---Clients that are connected.
---@return testing_client[]
function App:clients() end

---It reads no more; false: it does again.
---@param client testing_client
---@param slow? boolean
function App:slow(client, slow) end

---It answers no pings any more; false: it does again.
---@param client testing_client
---@param frozen? boolean
function App:freeze(client, frozen) end

---@param number integer from 1
function App:kill_gateway(number) end

---@param number integer from 1
function App:start_gateway(number) end

---@param number integer from 1
function App:kill_worker(number) end

---@param number integer from 1
function App:start_worker(number) end

---Clients leave, onWorkerStop runs.
function App:stop() end

---@class testing_client
---@field id client_id? nil while its handshake is not over
---@field gateway integer number of its gateway
---@field status integer? of the answer to its handshake
---@field subprotocol string? that was chosen
---@field closed { code: integer, reason: string, status: integer? }? why it is closed
local Client = {}

---A message; a table as JSON.
---@param message string|number|table
---@param options? { binary: boolean }
function Client:send(message, options) end

---Bytes as they are.
---@param bytes string
function Client:send_raw(bytes) end

---The messages since the last call.
---@return string[]
function Client:received() end

---The last of the messages since the last call.
---@return string?
function Client:last() end

---The messages since the last call, decoded.
---@return any[]
function Client:json() end

---Leave, on a websocket with a Close frame.
---@param code? integer 1000
---@param reason? string
function Client:close(code, reason) end

---Leave without a word.
function Client:vanish() end

return testing
