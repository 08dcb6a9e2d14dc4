---@meta gwrun.testing
-- What specs under "gwrun test" can use, for editors. docs/testing.md tells more.
-- Never loaded.

---@class gwrun.testing
local testing = {}

---@class testing_options
---@field script? string path of the script
---@field text? string the script itself
---@field gateways? integer|(string|table)[] how many, or a list of "websocket", "text", "frame", "tcp" or entries
---@field workers? integer|testing_workers[] how many, or a list of kinds
---@field programs? { name: string, file: string, args?: string|string[], restart?: "always"|"on-failure"|"never" }[]
---@field config? table other keys of the configuration
---@field time? number seconds since 1970
---@field errors? "raise"|"collect"
---@field mysql? fun(sql: string, params: any[]): table|integer|nil, any
---@field redis? testing_redis|fun(command: string, ...: any): any, string?
---@field http? fun(request: testing_request): testing_response?, string?, string?
---@field websocket? testing_websocket
---@field socket? testing_socket

---@class testing_workers
---@field name string
---@field script? string path of its script
---@field text? string the script itself
---@field count? integer

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

---A server of websockets in memory. accept() may return the subprotocol it chooses, or
---nil, message, code to refuse; onMessage() hears what the script sends.
---@param options? { accept?: (fun(request: testing_websocket_request, conn: testing_websocket_connection): string?, string?, string?), onMessage?: fun(conn: testing_websocket_connection, message: string) }
---@return testing_websocket
function testing.websocket(options) end

---@class testing_websocket
---@field connections testing_websocket_connection[] all that there were

---@class testing_websocket_request
---@field url string
---@field headers table<string, string> names in lower case
---@field protocols string[]

---@class testing_websocket_connection
---@field request testing_websocket_request
---@field sent string[] what the script has sent on it
---@field closed? { code: integer, reason: string } how the script has closed it
---@field say fun(self, message: string, binary?: boolean) the server sends it
---@field close fun(self, code?: integer, reason?: string) the server closes it
---@field drop fun(self) it is lost
---@field last fun(self): string?

---A server of bytes in memory. accept() may return nil, message, code to refuse;
---onData() hears what the script writes.
---@param options? { accept?: (fun(request: testing_socket_request, conn: testing_socket_connection): boolean?, string?, string?), onData?: fun(conn: testing_socket_connection, data: string) }
---@return testing_socket
function testing.socket(options) end

---@class testing_socket
---@field connections testing_socket_connection[] all that there were

---@class testing_socket_request
---@field host string
---@field port integer
---@field tls boolean
---@field server_name string whom the certificate must be of
---@field verify boolean

---@class testing_socket_connection
---@field request testing_socket_request
---@field sent string what the script has written
---@field tls boolean TLS is spoken, by now
---@field closed? boolean the script has closed it
---@field say fun(self, data: string) the server writes
---@field close fun(self) the server closes it
---@field drop fun(self) it is lost

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
---@field workers? string whose client it is to be: a gateway of theirs
---@field stream? boolean ask for an event stream, which onRequest must give

---A new client.
---@param options? testing_connect_options
---@return testing_client
function App:connect(options) end

---@class testing_request_options
---@field method? string "GET", or "POST" with a body
---@field path? string "/?a=1"
---@field headers? table<string, string>
---@field body? string
---@field json? any the body as JSON
---@field form? table<string, string|number> the body as an urlencoded form
---@field ip? string who it seems to come from
---@field gateway? integer its number; otherwise they take turns
---@field workers? string whose it is to be: a gateway of theirs

---@class testing_answer
---@field status integer
---@field headers table<string, string|string[]> names in lower case; set-cookie is a list
---@field body string
---@field json fun(self): any, string?, string?

---The answer to a request that is no client's; time passes until it is there.
---@param options? testing_request_options
---@return testing_answer
function App:request(options) end

---@class testing_api_options
---@field key? string in place of the one that may make all calls
---@field headers? table<string, string>
---@field ip? string who it seems to come from
---@field gateway? integer its number; otherwise the first with api = true

---The answer to a call of the push API; a listener must have api = true.
---@param call string "sendToUid"
---@param params? table by the names of the parameters
---@param options? testing_api_options
---@return testing_answer
function App:api(call, params, options) end

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

---The same in one worker: its number from 1, "Billing:0", or "Billing".
---@param worker integer|string
---@param text string
---@param ... any plain values
---@return any ...
function App:run_in(worker, text, ...) end

---Load the script again, or this text: true, or false and why the old one goes on.
---With a name: only that of these workers.
---@param text? string
---@param name? string
---@return boolean ok, string? message
function App:reload(text, name) end

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

---@param worker integer|string from 1, or "Billing:0"
function App:kill_worker(worker) end

---@param worker integer|string
function App:start_worker(worker) end

---Clients leave, onWorkerStop runs.
function App:stop() end

---@class testing_client
---@field id client_id? nil while its handshake is not over
---@field gateway integer number of its gateway
---@field status integer? of the answer to its handshake
---@field headers table<string, string|string[]>? of that answer; names in lower case, set-cookie a list
---@field body string? of that answer, when it was refused
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

---The messages since the last call, with their types; nil on ports without types.
---@return { text: string, binary: boolean? }[]
function Client:messages() end

---The last of the messages since the last call.
---@return string?
function Client:last() end

---The messages since the last call, decoded.
---@return any[]
function Client:json() end

---Its session, as its gateway has it; nil once it is gone.
---@return session?
function Client:session() end

---The uid that is bound to it.
---@return string?
function Client:uid() end

---The groups that it is in, sorted; nil once it is gone.
---@return string[]?
function Client:groups() end

---Leave, on a websocket with a Close frame.
---@param code? integer none: an empty frame, of which onClose hears as 1005
---@param reason? string
function Client:close(code, reason) end

---Leave without a word.
function Client:vanish() end

return testing
