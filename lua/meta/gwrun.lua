---@meta gwrun
-- What gwrun gives to scripts: for editors (lua-language-server) and for the
-- reference page, which is made from this file. Never loaded.
--
-- Wrong arguments raise an error. What fails at run time returns nil, message,
-- code (a libuv name in lower case, as "enotconn"); wrap a call in assert() to
-- turn that into an error.

---20 hex digits: the name of a client in the whole system. An address, not a
---proof of anything: never take it from a client as one.
---@alias client_id string

---A string or an integer, not empty and not 0. Results have them as strings.
---@alias uid string|integer

---A string or an integer, not empty and not 0. Results have them as strings.
---@alias group string|integer

---A message; numbers are sent as text. Encode tables, e.g. with json.encode.
---@alias message string|number

---null inside a session, or another value of a script's or of PHP's, is
---json.null, and alone it is nil. What gwrun tells by itself and does not know
---is nil.
---@alias session table<string|integer, any>

---The session of the client whose event is handled: a table, empty at first.
---What was changed in it is saved when the handler ends or waits, key by key:
---other keys stay what others make them meanwhile. More than max_session bytes
---of the gateway's configuration are an error.
---Strings, numbers, booleans and tables of them can be saved. A key that is the
---text of an integer is that integer: _SESSION["42"] means _SESSION[42], and
---pairs() shows 42. Take out of it what you want to keep elsewhere: its tables
---are the session's, in the client's next events, too. nil in timers.
---@type session
_SESSION = {}

---@class server
---@field REMOTE_ADDR string address of the client; "::" when its gateway could not tell (IPv6 behind GatewayWorker's)
---@field REMOTE_PORT integer
---@field GATEWAY_ADDR string inner address (lan_ip) of the client's gateway
---@field GATEWAY_PORT integer the port that the client connected to
---@field GATEWAY_NAME? string the name of its entry in gateways of the configuration; nil: GatewayWorker's gateways do not tell
---@field GATEWAY_CLIENT_ID client_id
---@field PROTOCOL? "sse" the client has an event stream (docs/streams.md); nil: something else

---The connection of the client whose event is handled; nil in timers.
---@type server
_SERVER = {}

---@class worker
---@field id integer 0 … count-1 on its machine; every machine with workers has a 0
---@field name string

---@class websocket_request
---@field get table<string, any> the query's parameters
---@field server table<string, any> REQUEST_URI, REMOTE_ADDR, HTTP_USER_AGENT …; WEBSOCKET_PROTOCOL, once one was chosen by the listener's protocols or by onHandshake
---@field cookie table<string, string>

---@class handshake_request: websocket_request
---@field path string the request's path, "/chat"
---@field uri string path and query as sent, "/chat?room=1"
---@field remote_addr string address of who asks
---@field headers table<string, string> all headers; names in lower case

---@class handshake_admission what a client that is let in begins with
---@field protocol? string the subprotocol, one of those that it offers
---@field headers? table<string, string|integer|string[]> of the answer; Set-Cookie may be a list
---@field session? session
---@field uid? string|integer
---@field groups? (string|integer)[]|string

---@class handshake_refusal
---@field status integer 300 to 599
---@field headers? table<string, string|integer|string[]> of the answer; Set-Cookie may be a list
---@field body? string without a Content-Type plain text; otherwise the status's own words

---What onRequest gets: each part is decoded when it is first read.
---@class http_request: handshake_request
---@field method string "GET"
---@field body string "" when there is none
---@field json fun(self): any, string?, string? the body's value
---@field form fun(self): table?, string?, string? the fields of a form, urlencoded or multipart; a file is { name, filename, type, data }
---@field headerList fun(self, name: string): string[] all lines of one header

---What onRequest may return; one of body, json, file, redirect and stream.
---@class http_answer
---@field status? integer 200 to 599; without it 200, with redirect 302
---@field headers? table<string, string|integer|string[]> Set-Cookie may be a list
---@field body? string without a Content-Type plain text
---@field json? any is sent as JSON
---@field file? string a path below the gateway's `files`
---@field redirect? string a path or a URL
---@field stream? "sse" the requester becomes a client with an event stream (docs/streams.md), which begins with:
---@field session? session
---@field uid? string|integer
---@field groups? (string|integer)[]|string

---@class close_info
---@field session? session as it was saved last
---@field certain boolean false: the gateway's machine is gone or cannot be reached, or was booted anew. If the client still lives there, another onClose, with true, comes when it really ends (docs/guarantees.md)
---@field uid? string what was bound
---@field groups? string[] what it was in
---@field by? "client"|"script"|"server"|"operator"|"lost" who ended it; "operator": gwrun kick or ban; "lost": its gateway is gone
---@field cause? string why: one of gwrun's own words (docs/scripts.md), which no client can choose: "client", "kicked", "destroyed", "timeout", "overflow", "too_large", "protocol_error", "busy", "restart", "expelled", "gateway_lost"
---@field code? integer of the websocket's Close frame, 1005 when it has none, 1006 without a frame; what closeClient was given on any kind of port
---@field reason? string of the same Close frame: whatever a client says when it ends the connection, up to a NUL
---@field dropped? integer messages that it did not get: its queue was full, or they waited when it went away

---@class error_context
---@field event string the callback, or "timer", "spawn"
---@field client_id? client_id whose event it was
---@field traceback string the error with its traceback
---@field left_out integer errors since the last call that were not told: there were too many

---Your callbacks; define the ones you need. The events of one client run one
---after the other, in order; a handler that waits holds up its own client only.
---@class Events
---@field onWorkerStart? fun(worker: worker) once, before events come
---@field onHandshake? fun(request: handshake_request): (boolean|integer|handshake_admission|handshake_refusal|nil), string? before a websocket is let in: return nothing or true to accept, false or a status (400 to 599) and a reason to refuse, or a table that says more (docs/handshakes.md). May wait, for the listener's handshake_timeout at most (then 503); an error is 500
---@field onRequest? fun(request: http_request): (integer|string|http_answer|nil), table?, string? a request that is no websocket's and no file's: return status, headers, body, or a text, or a table, or nothing for 404 (docs/requests.md). Belongs to no client; may wait, for the listener's request_timeout at most (then 504); an error is 500
---@field onConnect? fun(client_id: client_id) a new client; a websocket's handshake is valid by now
---@field onWebSocketConnect? fun(client_id: client_id, request: websocket_request) after the handshake
---@field onMessage? fun(client_id: client_id, message: string, binary?: boolean) binary: false for a text, which is UTF-8, true for any bytes, nil where the client's port has no types (or its gateway, GatewayWorker's, does not tell). Later versions may add arguments
---@field onClientBound? fun(client_id: client_id) the client's events come to this worker from now on; another one had them before, which is gone (or its uid sends it here). Before its next event; silent clients within some seconds. Not told of those that connect here, nor by GatewayWorker's gateways (docs/scripts.md)
---@field onClose? fun(client_id: client_id, info: close_info) gone, whoever closed it
---@field onError? fun(error: string, context: error_context) something of the script has failed and is in the log already: for an error tracker, say. In a coroutine of its own; at most 10 a second, and never for an error of its own
---@field onCellGone? fun(cell: string, since: number) a cell of the cluster is gone without having left: it was heard of last at `since`, in seconds of 1970. Runs once in the whole cluster, in a worker of some cell (docs/cluster.md)
---@field onClusterGap? fun(seconds: number) this cell was away from its cluster for so long and is back: what others sent meanwhile is lost. Runs in one worker of the cell (docs/cluster.md)
---@field onWorkerStop? fun(worker: worker) the script ends: the worker stops or has a newer one
Events = {}

---How a message is sent. A table may be kept and used again.
---@class send_options
---@field raw? boolean without the protocol's framing
---@field binary? boolean websockets get it as a binary message (true) or as text (false), whatever send of the configuration says; the other protocols have no types. GatewayWorker's gateways cannot: nil, message, "enotsup"
---@field event? string the name of the event for clients with event streams; the others are not told. UTF-8 of at most 255 bytes, without line breaks
---@field id? string its id, which their browsers send as Last-Event-ID when they come back; likewise

---How a client is closed, and its last message sent.
---@class close_options: send_options
---@field code? integer of the Close frame: 1000 to 1003, 1007 to 1014 or 3000 to 4999; without it 1000. Ports without Close frames, and GatewayWorker's gateways, have none: only onClose is told, and not by those
---@field reason? string of the same, UTF-8 of at most 123 bytes

---How all clients of a uid or group are closed.
---@class close_many_options: close_options
---@field timeout? number seconds to wait for who they are

---How a client joins.
---@class join_options
---@field wait? boolean return when sends of all cells of a cluster reach the client
---@field timeout? number seconds to wait for that

---How a client gets its uid.
---@class bind_options: join_options
---@field exclusive? boolean close all others that have the uid

---Send to clients and ask about them, whichever gateway of the system they are
---on. Sends return true when the link to the gateway took them (to a client
---that is gone, too); queries wait for the answer, `timeout` seconds at most.
---@class Gateway
Gateway = {}

---Send to all clients, or to those in a list.
---```lua
---Gateway.sendToAll("the server restarts at noon", nil, { client_id }) -- all others
---```
---@param message message
---@param client_ids? client_id[]|client_id nil: all clients; {}: nobody
---@param exclude? client_id[]|client_id not to these
---@param options? boolean|send_options true: raw
---@return true? ok
---@return string? message
---@return string? code
function Gateway.sendToAll(message, client_ids, exclude, options) end

---Send to one client.
---```lua
---assert(Gateway.sendToClient(client_id, "welcome"))
---Gateway.sendToClient(client_id, "\0\1\xff", { binary = true })
---```
---@param client_id client_id
---@param message message
---@param options? boolean|send_options true: raw
---@return true? ok
---@return string? message
---@return string? code
function Gateway.sendToClient(client_id, message, options) end

---Send to the client whose event is handled. Raises where there is none.
---@param message message
---@param options? boolean|send_options true: raw
---@return true? ok
---@return string? message
---@return string? code
function Gateway.sendToCurrentClient(message, options) end

---Send to all clients of a uid, or of several.
---```lua
---Gateway.sendToUid(1001, "your order was sent") -- on every device that is online
---Gateway.sendToUid({ 1001, "alice" }, "see you at three")
---```
---@param uid uid|uid[]
---@param message message
---@param options? boolean|send_options true: raw
---@return true? ok
---@return string? message
---@return string? code
function Gateway.sendToUid(uid, message, options) end

---Send to the members of a group, or of several: once to who is in two of them.
---```lua
---Gateway.sendToGroup("lobby", "hello", client_id) -- all members but this one
---```
---@param group group|group[]
---@param message message
---@param exclude? client_id[]|client_id not to these
---@param options? boolean|send_options true: raw
---@return true? ok
---@return string? message
---@return string? code
function Gateway.sendToGroup(group, message, exclude, options) end

---Close after a last message and all that was sent before.
---```lua
---Gateway.closeClient(client_id, "somebody else logged in with your name",
---  { code = 4001, reason = "logged in elsewhere" })
---```
---@param client_id client_id
---@param message? message
---@param options? boolean|close_options true: raw
---@return true? ok
---@return string? message
---@return string? code
function Gateway.closeClient(client_id, message, options) end

---Close the client whose event is handled. Raises where there is none.
---@param message? message
---@param options? boolean|close_options true: raw
---@return true? ok
---@return string? message
---@return string? code
function Gateway.closeCurrentClient(message, options) end

---Close at once; what is still queued for it is lost.
---@param client_id client_id
---@return true? ok
---@return string? message
---@return string? code
function Gateway.destroyClient(client_id) end

---Close the client whose event is handled at once. Raises where there is none.
---@return true? ok
---@return string? message
---@return string? code
function Gateway.destroyCurrentClient() end

---GatewayWorker's spelling of destroyClient.
---@param client_id client_id
---@return true? ok
---@return string? message
---@return string? code
function Gateway.destoryClient(client_id) end

---GatewayWorker's spelling of destroyCurrentClient.
---@return true? ok
---@return string? message
---@return string? code
function Gateway.destoryCurrentClient() end

---Close all clients of a uid. Waits. When a gateway does not answer, those of the
---others are closed all the same.
---@param uid uid
---@param message? message
---@param options? number|boolean|close_many_options a number: timeout; true: raw
---@return integer? count of the clients
---@return string? message
---@return string? code
---@return integer? partial the count, when there is a message
function Gateway.closeUid(uid, message, options) end

---Close all members of a group, or of several, likewise. Waits. Who joins
---meanwhile stays.
---```lua
---Gateway.closeGroup("match 7", "the match is over", { code = 4000 })
---```
---@param group group|group[]
---@param message? message
---@param options? number|boolean|close_many_options a number: timeout; true: raw
---@return integer? count of the clients
---@return string? message
---@return string? code
---@return integer? partial the count, when there is a message
function Gateway.closeGroup(group, message, options) end

---Name the client's user. A client has one uid, the last; a uid may have many
---clients. Ends with the connection.
---```lua
---Gateway.bindUid(client_id, 1001) -- a client has one uid, a uid any number of clients
---Gateway.bindUid(client_id, 1001, { exclusive = true }) -- … but this one one
---```
---With `exclusive` the newest login stays, of however many at once, and all others that
---have the uid are closed (1008, `logged in elsewhere`). With `wait` it returns when sends of all cells
---of a [cluster](cluster.md#what-is-promised) reach the client by its uid; false: it is gone, or was
---closed for a newer login; `true, "local"`: other cells cannot be reached.
---@param client_id client_id
---@param uid uid
---@param options? bind_options
---@return boolean? ok
---@return string? message
---@return string? code
function Gateway.bindUid(client_id, uid, options) end

---Unbind this uid (then it waits, to look whether that is the one), or whatever
---is bound.
---@param client_id client_id
---@param uid? uid
---@param timeout? number
---@return boolean? ok false when it is bound to something else
---@return string? message
---@return string? code
function Gateway.unbindUid(client_id, uid, timeout) end

---Put a client into a group, or into several. It leaves them when it is gone.
---```lua
---Gateway.joinGroup(client_id, { "lobby", "room 7" })
---```
---A list of more groups than a client may be in (`max_groups`) is refused whole:
---`nil, message, "e2big"`. Only the gateway knows in which groups it is already:
---one that would be too much there is counted (`groups_refused`) and logged.
---With `wait` it returns when sends of all cells of a [cluster](cluster.md#what-is-promised) reach the
---client by the group; false: it is gone; `true, "local"`: other cells cannot be reached.
---@param client_id client_id
---@param group group|group[]
---@param options? join_options
---@return boolean? ok
---@return string? message
---@return string? code
function Gateway.joinGroup(client_id, group, options) end

---Take a client out of a group, or of several.
---@param client_id client_id
---@param group group|group[]
---@return true? ok
---@return string? message
---@return string? code
function Gateway.leaveGroup(client_id, group) end

---Take all members out of the group.
---@param group group
---@return true? ok
---@return string? message
---@return string? code
function Gateway.ungroup(group) end

---Replace a client's session. For the client whose event is handled _SESSION
---follows. "emsgsize": it is larger than max_session of the configuration.
---```lua
---Gateway.setSession(client_id, { name = "Alice", level = 3 })
---```
---@param client_id client_id
---@param session session
---@return true? ok
---@return string? message
---@return string? code
function Gateway.setSession(client_id, session) end

---Merge into a client's session, tables in it key by key. For the client whose
---event is handled _SESSION follows. "emsgsize": it would be larger than
---max_session; of another client only its gateway can tell, which then counts it
---in sessions_refused.
---```lua
---Gateway.updateSession(client_id, { level = 4 }) -- the name stays
---```
---@param client_id client_id
---@param session session
---@return true? ok
---@return string? message
---@return string? code
function Gateway.updateSession(client_id, session) end

---A client's session: {} when it has none, nil when it is offline. Waits.
---```lua
---local session, message = Gateway.getSession(client_id)
---if session then
---  print(session.name)
---elseif message then
---  Log.warn("cannot ask: " .. message)
---end -- nil alone: it is offline
---```
---@param client_id client_id
---@param timeout? number
---@return session? session
---@return string? message
---@return string? code
function Gateway.getSession(client_id, timeout) end

---Whether the client is connected. Waits.
---```lua
---if not Gateway.isOnline(client_id) then print "gone" end
---```
---@param client_id client_id
---@param timeout? number
---@return boolean? online
---@return string? message
---@return string? code
function Gateway.isOnline(client_id, timeout) end

---Whether the uid has a client. Waits.
---```lua
---if Gateway.isUidOnline(1001) then Gateway.sendToUid(1001, "hello") end
---```
---@param uid uid
---@param timeout? number
---@return boolean? online
---@return string? message
---@return string? code
---@return boolean? partial
function Gateway.isUidOnline(uid, timeout) end

---Which of the uids have a client. Waits.
---@param uids uid[]
---@param timeout? number
---@return table<uid, boolean>? online
---@return string? message
---@return string? code
---@return table<uid, boolean>? partial
function Gateway.isUidsOnline(uids, timeout) end

---The clients of a uid. Waits.
---```lua
---for _, id in ipairs(assert(Gateway.getClientIdByUid(1001))) do
---  Gateway.joinGroup(id, "lobby")
---end
---```
---@param uid uid
---@param timeout? number
---@return client_id[]? client_ids
---@return string? message
---@return string? code
---@return client_id[]? partial
function Gateway.getClientIdByUid(uid, timeout) end

---The clients of several uids. Waits.
---@param uids uid[]
---@param timeout? number
---@return table<uid, client_id[]>? client_ids
---@return string? message
---@return string? code
---@return table<uid, client_id[]>? partial
function Gateway.batchGetClientIdByUid(uids, timeout) end

---The client's uid; nil when it is offline or has none. Waits.
---```lua
---local uid = Gateway.getUidByClientId(client_id) -- nil when none is bound
---```
---@param client_id client_id
---@param timeout? number
---@return string? uid
---@return string? message
---@return string? code
function Gateway.getUidByClientId(client_id, timeout) end

---The client's groups, sorted; nil when it is offline. Waits.
---@param client_id client_id
---@param timeout? number
---@return string[]? groups
---@return string? message
---@return string? code
function Gateway.getGroupsByClientId(client_id, timeout) end

---How many clients there are. Waits.
---```lua
---print(assert(Gateway.getAllClientIdCount()) .. " clients are online")
---```
---@param timeout? number
---@return integer? count
---@return string? message
---@return string? code
---@return integer? partial
function Gateway.getAllClientIdCount(timeout) end

---As getAllClientIdCount.
---@param timeout? number
---@return integer? count
---@return string? message
---@return string? code
---@return integer? partial
function Gateway.getAllClientCount(timeout) end

---How many clients are in the group (all clients without a group). Waits.
---```lua
---local players = assert(Gateway.getClientIdCountByGroup "room 7")
---```
---@param group? group|""
---@param timeout? number
---@return integer? count
---@return string? message
---@return string? code
---@return integer? partial
function Gateway.getClientIdCountByGroup(group, timeout) end

---As getClientIdCountByGroup.
---@param group? group|""
---@param timeout? number
---@return integer? count
---@return string? message
---@return string? code
---@return integer? partial
function Gateway.getClientCountByGroup(group, timeout) end

---How many clients are in each of the groups. Waits.
---@param groups group[]
---@param timeout? number
---@return table<group, integer>? counts
---@return string? message
---@return string? code
---@return table<group, integer>? partial
function Gateway.batchGetClientIdCountByGroup(groups, timeout) end

---All clients, as keys and values. Waits.
---@param timeout? number
---@return table<client_id, client_id>? client_ids
---@return string? message
---@return string? code
---@return table<client_id, client_id>? partial
function Gateway.getAllClientIdList(timeout) end

---The members of a group or of several, as keys and values. Waits.
---```lua
---for id in pairs(assert(Gateway.getClientIdListByGroup "room 7")) do
---  Gateway.sendToClient(id, "the game begins")
---end
---```
---@param group group|group[]
---@param timeout? number
---@return table<client_id, client_id>? client_ids
---@return string? message
---@return string? code
---@return table<client_id, client_id>? partial
function Gateway.getClientIdListByGroup(group, timeout) end

---The clients that are bound to this worker: their events come here, as long as it lives. A client
---whose worker is gone is bound to the next one by its next event, and until then to none. Waits.
---A gateway that is PHP's does not know whose its clients are: then, and when one does not answer,
---the others' clients are the partial result. A program (`gwrun exec`) has none: `"enosys"`.
---```lua
----- every minute, each worker for its own clients
---Timer.add(60, function()
---  for _, id in ipairs(assert(Gateway.getMyClients())) do Gateway.sendToClient(id, "tick") end
---end)
---```
---@param timeout? number
---@return client_id[]? client_ids
---@return string? message
---@return string? code
---@return client_id[]? partial
function Gateway.getMyClients(timeout) end

---The sessions of all clients, or of a group's. Waits.
---@param group? group|""
---@param timeout? number
---@return table<client_id, session>? sessions
---@return string? message
---@return string? code
---@return table<client_id, session>? partial
function Gateway.getAllClientSessions(group, timeout) end

---The sessions of a group's members. Waits.
---```lua
---for id, session in pairs(assert(Gateway.getClientSessionsByGroup "room 7")) do
---  print(id, session.name)
---end
---```
---@param group group
---@param timeout? number
---@return table<client_id, session>? sessions
---@return string? message
---@return string? code
---@return table<client_id, session>? partial
function Gateway.getClientSessionsByGroup(group, timeout) end

---The uids in a group or in several, as keys and values. Waits.
---```lua
---for uid in pairs(assert(Gateway.getUidListByGroup "room 7")) do print(uid) end
---```
---@param group group|group[]
---@param timeout? number
---@return table<string, string>? uids
---@return string? message
---@return string? code
---@return table<string, string>? partial
function Gateway.getUidListByGroup(group, timeout) end

---How many uids are in a group or in several. Waits.
---@param group group|group[]
---@param timeout? number
---@return integer? count
---@return string? message
---@return string? code
---@return integer? partial
function Gateway.getUidCountByGroup(group, timeout) end

---All uids that are online, as keys and values. Waits.
---@param timeout? number
---@return table<string, string>? uids
---@return string? message
---@return string? code
---@return table<string, string>? partial
function Gateway.getAllUidList(timeout) end

---How many uids are online. Waits.
---@param timeout? number
---@return integer? count
---@return string? message
---@return string? code
---@return integer? partial
function Gateway.getAllUidCount(timeout) end

---All groups that have a member, as keys and values. Waits.
---@param timeout? number
---@return table<string, string>? groups
---@return string? message
---@return string? code
---@return table<string, string>? partial
function Gateway.getAllGroupIdList(timeout) end

---The uids in each group. Waits.
---@param timeout? number
---@return table<string, table<string, string>>? uids
---@return string? message
---@return string? code
---@return table<string, table<string, string>>? partial
function Gateway.getAllGroupUidList(timeout) end

---How many uids are in each group. Waits.
---@param timeout? number
---@return table<string, integer>? counts
---@return string? message
---@return string? code
---@return table<string, integer>? partial
function Gateway.getAllGroupUidCount(timeout) end

---The clients in each group. Waits.
---@param timeout? number
---@return table<string, table<client_id, client_id>>? client_ids
---@return string? message
---@return string? code
---@return table<string, table<client_id, client_id>>? partial
function Gateway.getAllGroupClientIdList(timeout) end

---How many clients are in each group. Waits.
---@param timeout? number
---@return table<string, integer>? counts
---@return string? message
---@return string? code
---@return table<string, integer>? partial
function Gateway.getAllGroupClientIdCount(timeout) end

---Functions that run later, each time in a coroutine of its own, so that they
---may wait. Timers belong to the worker that made them and end with its script.
---@class Timer
Timer = {}

---Call fn every so many seconds. When it still waits at its next time, that time
---is skipped.
---```lua
---local id = Timer.add(30, function(room) Gateway.sendToGroup(room, "tick") end, { "lobby" })
---Timer.del(id)
---```
---@param seconds number at least 0.001
---@param fn fun(...)
---@param args? any[]
---@param persistent? boolean false: only once
---@return integer id
function Timer.add(seconds, fn, args, persistent) end

---Call fn once, after so many seconds.
---```lua
---Timer.once(0.5, function() Gateway.sendToAll "half a second later" end)
---```
---@param seconds number at least 0.001
---@param fn fun(...)
---@param args? any[]
---@return integer id
function Timer.once(seconds, fn, args) end

---As Timer.once, by its newer Workerman name.
---@param seconds number at least 0.001
---@param fn fun(...)
---@param args? any[]
---@return integer id
function Timer.delay(seconds, fn, args) end

---End a timer; a callback that runs goes on.
---@param id integer
---@return boolean found
function Timer.del(id) end

---End all timers of this script in this worker.
function Timer.delAll() end

---Wait. Other clients' events go on.
---```lua
---Gateway.sendToClient(client_id, "3 …")
---Timer.sleep(0.1)
---Gateway.sendToClient(client_id, "2 …")
---```
---@param seconds number
function Timer.sleep(seconds) end

---Lines in gwrun's log. Values are joined with tabs, as print() does; print()
---itself writes a notice.
---@class Log
Log = {}

---Somebody must act.
---@param ... any
function Log.error(...) end

---Something went wrong and was coped with.
---@param ... any
function Log.warn(...) end

---Seldom and worth knowing.
---@param ... any
function Log.notice(...) end

---About a connection; shown from log level info on.
---```lua
---Log.info("login", client_id, _SERVER.REMOTE_ADDR)
---```
---@param ... any
function Log.info(...) end

---About a message; shown from log level debug on.
---@param ... any
function Log.debug(...) end

---A logger whose lines have these fields as well, behind its own: key=value, sorted by
---key; in the JSON format among "fields". At most 32; names are small letters, digits
---and _.
---```lua
---local log = Log.with { order = 7 }
---log.info "paid"                          -- … script: paid order=7 …
---log.with({ by = "ann" }).warn "refused"  -- … script: refused order=7 by=ann …
---```
---@param fields table<string, any>
---@return Log
function Log.with(fields) end

---Call fn at times of the calendar, in the machine's time zone. See docs/timers.md.
---```lua
---Timer.cron("30 4 * * *", function() Log.notice "half past four" end)
---```
---@param expression string "*/5 * * * *", six fields with the second in front, or "@daily"
---@param fn fun(...)
---@param args? any[]
---@return integer id
function Timer.cron(expression, fn, args) end

---@class gwrun.ticket
---@field set fun(self) wake who waits, now or later
---@field wait fun(self, timeout?: number): boolean whether it was set in time

---Functions that run side by side, and gwrun's modules by name: gwrun.redis,
---gwrun.http, gwrun.socket, gwrun.websocket, gwrun.shared, gwrun.crypto, gwrun.jwt, gwrun.json,
---gwrun.log, gwrun.routes, gwrun.metrics.
---@class gwrun
---@field redis Redis
---@field http Http
---@field socket Socket
---@field websocket Websocket
---@field shared gwrun.shared
---@field crypto gwrun.crypto
---@field jwt gwrun.jwt
---@field routes gwrun.routes
---@field metrics gwrun.metrics
---@field json gwrun.json
---@field log Log
gwrun = {}

---Run fn(...) beside this code. It serves no client; what it raises is logged.
---```lua
---gwrun.spawn(function(name)
---  Timer.sleep(0.1)
---  print(name .. " is done")
---end, "mail")
---```
---@param fn fun(...)
---@param ... any
function gwrun.spawn(fn, ...) end

---Run all functions side by side and wait for the last one. Raises the first error.
---```lua
---local count, online = gwrun.parallel(
---  function() return Gateway.getAllClientIdCount() end,
---  function() return Gateway.isUidOnline(1001) end
---)
---print(count, online)
---```
---@param ... fun(): any
---@return any ... the first result of each
function gwrun.parallel(...) end

---The same without raising: for each function what pcall() returns, packed.
---@param ... fun(): any
---@return table[] results
function gwrun.settle(...) end

---Call fn(...). A wait in it that lasts beyond the deadline ends with an error, as
---every later one in it does: then nil, a message and "deadline". See docs/timers.md.
---@param seconds number
---@param fn fun(...): ...
---@param ... any
---@return any ... what fn returns; what it raises is raised
function gwrun.deadline(seconds, fn, ...) end

---Call fn(...) in a client's handler. When the client goes away while fn waits, that
---wait ends with an error, as every later one in it does: then nil, a message and
---"gone". Where a half-done fn would do harm, do without. See docs/timers.md.
---@param fn fun(...): ...
---@param ... any
---@return any ... what fn returns; what it raises is raised
function gwrun.whileConnected(fn, ...) end

---Something to wait for, once: ticket:wait(timeout) until another coroutine calls
---ticket:set(); it says whether that happened in time. Waits.
---@return gwrun.ticket ticket
function gwrun.ticket() end

---Whether this script still serves: false once a reload has replaced it. Ends loops.
---@return boolean serving
function gwrun.isServing() end

---The same; its older name.
---@return boolean serving
function gwrun.is_serving() end

---Seconds since 1970, with a fraction.
---@return number
function gwrun.now() end

---Clients of Redis servers. See docs/redis.md.
---@class Redis
---@field null userdata what is missing inside a list
Redis = {}

---@class redis_options
---@field host? string name, address or path of a unix socket; "127.0.0.1"
---@field port? integer 6379
---@field user? string
---@field password? string
---@field db? integer 0
---@field timeout? number seconds for each call; 5
---@field connect_timeout? number seconds; 3
---@field pool_size? integer connections for what blocks or watches; 8
---@field url? string all of the server's address in one line, as rediss://user:password@host:6380/0
---@field ca_file? string with TLS: PEM file of the authorities to trust; the system's
---@field cert_file? string with TLS: PEM file of a certificate of our own
---@field key_file? string with TLS: PEM file of its key
---@field server_name? string with TLS: of whom the server's certificate must be; the host
---@field verify? boolean with TLS; false: any certificate will do
---@field sentinel_user? string
---@field sentinel_password? string

---A client; every Redis command is a method too: r:get(key), r:hset(key, field, value).
---@class redis_client
---@field call fun(self, command: string, ...: string|number): any, string?, string?
---@field hgetall fun(self, key: string): table<string, string>?, string?, string?
---@field within fun(self, seconds: number): redis_client the same with another time-out
---@field pipeline fun(self, f: fun(p: table)): any[]?, string?, string?
---@field multi fun(self, f: fun(tx: table)): any[]?, string?, string?
---@field transaction fun(self, keys: string|string[], f: fun(tx: table, r: redis_client)): any[]?, string?, string?
---@field script fun(self, text: string, keys?: string[], args?: (string|number)[]): any, string?, string?
---@field subscribe fun(self, channels: string|string[], f: fun(message: string, channel: string)): redis_subscription
---@field psubscribe fun(self, patterns: string|string[], f: fun(message: string, channel: string, pattern: string)): redis_subscription
---@field close fun(self)
---@field [string] fun(self, ...: string|number): any, string?, string?

---@class redis_subscription
---@field waitReady fun(self, seconds?: number): boolean the server has confirmed it
---@field close fun(self)

---A client for one server, for the master that sentinels name or for a cluster; it connects when it
---is first used. A string is a url.
---@param options? redis_options|string
---@return redis_client
function Redis.connect(options) end

---HTTP requests that wait. See docs/http.md.
---@class Http
Http = {}

---@class http_options
---@field url? string
---@field method? string in capitals
---@field headers? table<string, string|string[]>
---@field query? table<string, any>
---@field body? string
---@field json? any sent as JSON
---@field form? table<string, any>
---@field timeout? number seconds; 10
---@field connect_timeout? number seconds; 5
---@field max_size? integer bytes of the response; 8 MiB
---@field max_redirects? integer 5
---@field ca_file? string PEM file of the authorities to trust
---@field stream? boolean the response comes as soon as its head is there, and its body in pieces
---@field onData? fun(chunk: string, response: http_response) the same; the call returns when the body is over
---@field idle_timeout? number seconds without a byte of such a body; 60

---@class http_response
---@field status integer
---@field ok boolean 200 to 299
---@field headers table<string, any> names in small letters
---@field body string nil with stream and onData
---@field url string after redirects
---@field json fun(self): any, string?, string?
---@field chunks fun(self): fun(): string? with stream: for a loop over the body
---@field read fun(self, timeout?: number): string?, string?, string? with stream: the next piece
---@field close fun(self) with stream: the rest is not wanted
---@field ended? { message: string, code: string } what ended a loop; eof: it is whole

---@param options http_options
---@return http_response?
---@return string? message
---@return string? code
function Http.request(options) end

---```lua
---local response = assert(Http.get("https://api.example.com/users", { query = { id = 1001 } }))
---if response.ok then print(response.body) end
---```
---@param url string
---@param options? http_options
---@return http_response?
---@return string? message
---@return string? code
function Http.get(url, options) end

---@param url string
---@param options? http_options
---@return http_response?
---@return string? message
---@return string? code
function Http.head(url, options) end

---@param url string
---@param options? http_options
---@return http_response?
---@return string? message
---@return string? code
function Http.delete(url, options) end

---```lua
---local response, message = Http.post("https://api.example.com/orders", { item = 7 }, { timeout = 2 })
---print(response and response.status or message)
---```
---@param url string
---@param body? string|table a table is sent as JSON
---@param options? http_options
---@return http_response?
---@return string? message
---@return string? code
function Http.post(url, body, options) end

---@param url string
---@param body? string|table a table is sent as JSON
---@param options? http_options
---@return http_response?
---@return string? message
---@return string? code
function Http.put(url, body, options) end

---@param url string
---@param body? string|table a table is sent as JSON
---@param options? http_options
---@return http_response?
---@return string? message
---@return string? code
function Http.patch(url, body, options) end

---A text as part of a url.
---@param text any
---@return string
function Http.escape(text) end

---"a=1&b=2" of a table.
---@param values table<string, any>
---@return string
function Http.encode(values) end

---Streams of bytes to other servers, over TCP or TLS; calls wait. See docs/socket.md.
---@class Socket
Socket = {}

---@class socket_options
---@field tls? boolean speak TLS from the beginning
---@field server_name? string whom the certificate must be of; the host
---@field ca_file? string PEM file of the authorities to trust
---@field verify? boolean false: any certificate will do
---@field connect_timeout? number seconds until it is open, TLS included; 10
---@field timeout? number seconds for each read; none: it waits for ever
---@field max_queue? integer bytes that wait to be sent; 16 MiB

---@class socket_read_options
---@field limit? integer bytes of a line, of what is in front of a text, or of "any"; 64 KiB
---@field timeout? number seconds

---@class socket_tls_options
---@field server_name? string whom the certificate must be of; the host
---@field ca_file? string PEM file of the authorities to trust
---@field verify? boolean false: any certificate will do

---@class socket
---@field name string host and port
---@field ended? { message: string, code: string } what ended a loop over lines
---@field read fun(self, what: integer|"line"|"any", options?: socket_read_options): string?, string?, string? so many bytes; a line without its end; or what there is
---@field readUntil fun(self, text: string, options?: socket_read_options): string?, string?, string? what is in front of the text, which is taken, too
---@field lines fun(self, options?: socket_read_options): fun(): string? for a loop that ends with the connection
---@field write fun(self, data: string): true?, string?, string? does not wait
---@field starttls fun(self, options?: socket_tls_options): true?, string?, string? go on with TLS
---@field close fun(self) what waits to be sent is sent

---```lua
---local sock = assert(Socket.connect("service.example.com", 7000, { timeout = 5 }))
---sock:write "hello\n"
---print((sock:read "line"))
---sock:close()
---```
---@param host string a name, an address, or the path of a unix socket
---@param port? integer
---@param options? socket_options
---@return socket?
---@return string? message
---@return string? code
function Socket.connect(host, port, options) end

---Websockets to other servers; calls wait. See docs/websocket.md.
---@class Websocket
Websocket = {}

---@class websocket_options
---@field headers? table<string, string|string[]>
---@field protocols? string|string[] subprotocols
---@field timeout? number seconds for each receive; none: it waits for ever
---@field connect_timeout? number seconds until it is open; 10
---@field max_message? integer bytes of a message from the server; 8 MiB
---@field max_queue? integer bytes that wait to be sent, 64 more for each message; 16 MiB
---@field ping_interval? number seconds, 0: none; 30
---@field idle_timeout? number seconds without a sign of life, 0: never; 90
---@field ca_file? string PEM file of the authorities to trust
---@field verify? boolean false: any certificate will do

---@class websocket
---@field url string without the query
---@field protocol? string the subprotocol that the server chose
---@field closed? { code: integer, reason: string } once receive met the end
---@field send fun(self, message: string, options?: { binary: boolean }): true?, string?, string? does not wait
---@field receive fun(self, timeout?: number): string?, boolean|string, string? message and whether it is binary
---@field messages fun(self): fun(): string?, boolean? for a loop that ends with the connection
---@field close fun(self, code?: integer, reason?: string)

---```lua
---local ws = assert(Websocket.connect "wss://feed.example.com/prices")
---ws:send "subscribe"
---print((ws:receive(10)))
---ws:close()
---```
---@param url string
---@param options? websocket_options
---@return websocket?
---@return string? message
---@return string? code
function Websocket.connect(url, options) end

---@class websocket_feed_options: websocket_options
---@field onOpen? fun(ws: websocket) each time it is open
---@field onMessage? fun(ws: websocket, message: string, binary: boolean)
---@field onClose? fun(ws: websocket, info: { message: string, code?: string, closed?: { code: integer, reason: string }, wait?: number })
---@field min_wait? number seconds between two connections, at least; 1
---@field max_wait? number and at most; 30

---@class websocket_feed
---@field ws? websocket the open connection
---@field close fun(self, code?: integer, reason?: string) for good

---Keep a connection: it connects again, with jitter, when it is lost. Returns at once.
---```lua
---local feed = Websocket.feed("wss://feed.example.com/prices", {
---  onMessage = function(ws, message) Gateway.sendToGroup("prices", message) end,
---})
---feed:close()
---```
---@param url string
---@param options? websocket_feed_options
---@return websocket_feed
function Websocket.feed(url, options) end

---require "gwrun.crypto"; raw: bytes instead of hexadecimal digits.
---@class gwrun.crypto
---@field md5 fun(data: string, raw?: boolean): string
---@field sha1 fun(data: string, raw?: boolean): string
---@field sha256 fun(data: string, raw?: boolean): string
---@field sha384 fun(data: string, raw?: boolean): string
---@field sha512 fun(data: string, raw?: boolean): string
---@field hmac fun(digest: string, key: string, data: string, raw?: boolean): string
---@field hex fun(data: string): string
---@field base64Encode fun(data: string): string
---@field base64Decode fun(text: string): string?
---@field base64UrlEncode fun(data: string): string
---@field base64UrlDecode fun(text: string): string?
---@field randomBytes fun(count: integer): string
---@field randomToken fun(bytes?: integer): string
---@field equal fun(a: string, b: string): boolean in a time that tells nothing
---@field verify fun(algorithm: string, pem: string, data: string, signature: string): boolean
---@field hashPassword fun(password: string): string?, string?, string? what to store of it. Waits
---@field verifyPassword fun(password: string, hash: string): boolean?, string?, string? whether it is the password. Waits

---require "gwrun.shared": a small table that all workers of a machine share. When it
---is full, new keys are refused with nil, message, "enospc": let limits refuse then.
---@class gwrun.shared
---@field get fun(key: string): string|number|nil, string?, string?
---@field set fun(key: string, value: string|number|nil, seconds?: number): boolean?, string?, string?
---@field add fun(key: string, value: string|number, seconds?: number): boolean?, string?, string?
---@field cas fun(key: string, old: string|number|nil, new: string|number|nil, seconds?: number): boolean?, string?, string?
---@field incr fun(key: string, by?: integer, seconds?: number): integer?, string?, string?
---@field expire fun(key: string, seconds?: number): boolean?, string?, string?
---@field delete fun(key: string): boolean?, string?, string?

---require "gwrun.metrics": numbers of a script's own, which /metrics tells beside
---gwrun's. See docs/monitoring.md. A function called again with the same name returns
---the same metric. Values go on over reloads and over the restart of a process.
---@class gwrun.metrics
---@field counter fun(name: string, help: string, options?: { labels: string[] }): metrics_counter
---@field gauge fun(name: string, help: string, options?: { labels: string[] }): metrics_gauge
---@field histogram fun(name: string, help: string, options?: { labels: string[] }): metrics_histogram

---@class metrics_counter
---@field add fun(self, n?: number, labels?: table<string, string|number|boolean>): boolean?, string?, string? n is 1 if it is not given
---@field get fun(self, labels?: table<string, string|number|boolean>): number?, string?, string?

---@class metrics_gauge
---@field set fun(self, value: number, labels?: table<string, string|number|boolean>): boolean?, string?, string?
---@field add fun(self, n?: number, labels?: table<string, string|number|boolean>): boolean?, string?, string?
---@field get fun(self, labels?: table<string, string|number|boolean>): number?, string?, string?

---@class metrics_histogram
---@field observe fun(self, seconds: number, labels?: table<string, string|number|boolean>): boolean?, string?, string?
---@field get fun(self, labels?: table<string, string|number|boolean>): number?, string?, string? the sum of all

---require "gwrun.jwt"
---@class gwrun.jwt
---@field verify fun(token: string, key: string, options?: table): table?, string?, string?
---@field sign fun(claims: table, secret: string, algorithm?: string): string

---require "gwrun.routes": which function answers which request. See docs/requests.md.
---@class gwrun.routes
---@field new fun(): routes

---@class routes
---@field on fun(self, method: string, path: string, f: fun(request: http_request, params: table<string, string>): ...): routes
---@field get fun(self, path: string, f: fun(request: http_request, params: table<string, string>): ...): routes
---@field post fun(self, path: string, f: fun(request: http_request, params: table<string, string>): ...): routes
---@field put fun(self, path: string, f: fun(request: http_request, params: table<string, string>): ...): routes
---@field patch fun(self, path: string, f: fun(request: http_request, params: table<string, string>): ...): routes
---@field delete fun(self, path: string, f: fun(request: http_request, params: table<string, string>): ...): routes
---@field use fun(self, f: fun(request: http_request, next: fun(): ...): ...): routes
---@field handler fun(self): fun(request: http_request): ...

---require "gwrun.json"
---@class gwrun.json
---@field null userdata
---@field encode fun(value: any): string
---@field decode fun(text: string): any, string?, string?
---@field array fun(t?: table): table

---MySQL and MariaDB: calls look plain and wait underneath. See docs/mysql.md.
---@class Mysql
---@field null lightuserdata NULL, in results and as a parameter; the same as cjson.null
Mysql = {}

---@class mysql_options times are seconds
---@field host? string name or address ("127.0.0.1")
---@field port? integer (3306)
---@field socket? string path of a unix socket, instead of host and port
---@field user? string
---@field password? string
---@field database? string
---@field timeout? number for each call, waiting for a connection included (5)
---@field connect_timeout? number (5)
---@field pool_size? integer connections at most, in each worker (8)
---@field queue? integer calls that may wait for one (10000)
---@field idle? number a connection not used for longer is closed (60)
---@field ping? number one not used for longer is pinged first (5)
---@field max_result? integer bytes of one result (64 MiB)

---@alias mysql_value string|number|boolean|lightuserdata|(string|number|boolean)[]
---@alias mysql_params table<string|integer, mysql_value>
---@alias mysql_row table<string, string|number|lightuserdata>

---@class mysql_info
---@field errno integer the server's number, 0 for gwrun's own errors
---@field sqlstate string
---@field sql string

---A database. It connects when it is first used, and again by itself.
---@param conf mysql_options
---@return mysql_db
function Mysql.connect(conf) end

---The same with the arguments of Workerman\MySQL\Connection.
---@param host string
---@param port integer
---@param user string
---@param password string
---@param database string
---@return mysql_db
function Mysql.Connection(host, port, user, password, database) end

---@class mysql_db
local Db = {}

---Run a statement. SELECT: the rows. INSERT: the insert id, and how many rows.
---Others: how many rows. CALL: all its results, one after the other. Waits.
---@param sql string|mysql_query
---@param params? mysql_params for ":name" and "?"; a list stands for its values
---@param timeout? number seconds
---@return mysql_row[]|integer? result
---@return string|integer? message the rows of an INSERT, or what is wrong
---@return string? code
---@return mysql_info? info
function Db:query(sql, params, timeout) end

---The first row; nil when there is none. Waits.
---@param sql string|mysql_query
---@param params? mysql_params
---@param timeout? number seconds
---@return mysql_row? row
---@return string? message
---@return string? code
---@return mysql_info? info
function Db:row(sql, params, timeout) end

---The first column of all rows. Waits.
---@param sql string|mysql_query
---@param params? mysql_params
---@param timeout? number seconds
---@return any[]? values
---@return string? message
---@return string? code
---@return mysql_info? info
function Db:column(sql, params, timeout) end

---The first column of the first row; nil when there is none. Waits.
---@param sql string|mysql_query
---@param params? mysql_params
---@param timeout? number seconds
---@return any value
---@return string? message
---@return string? code
---@return mysql_info? info
function Db:single(sql, params, timeout) end

---The insert id of this handler's last statement, 0 for none.
---@return integer
function Db:lastInsertId() end

---This handler's last statement.
---@return string?
function Db:lastSQL() end

---Begin a transaction that belongs to this handler until it is committed or
---rolled back, at the latest when the handler ends. Waits.
---@return boolean? ok
---@return string? message
---@return string? code
---@return mysql_info? info
function Db:beginTrans() end

---Waits.
---@return boolean? ok
---@return string? message
---@return string? code
---@return mysql_info? info
function Db:commitTrans() end

---Waits.
---@return boolean? ok
function Db:rollBackTrans() end

---Call fn(tx, ...) in a transaction and return what it returns. It is committed
---unless fn raises, or returns nil or false with a message. Waits.
---@param fn fun(tx: mysql_db, ...): ...
---@param ... any
---@return any ...
function Db:transaction(fn, ...) end

---Connections that are open, those of them that are idle, and waiting calls.
---@return { open: integer, idle: integer, waiting: integer }
function Db:status() end

---Close when what is under way has ended.
function Db:close() end

---As close, by its Workerman name.
function Db:closeConnection() end

---Begin a query. Names are quoted, expressions left alone.
---@param columns? string|string[] "a, b", or a list; nothing for all
---@return mysql_query
function Db:select(columns) end

---@param name string
---@return mysql_query
function Db:insert(name) end

---@param name string
---@return mysql_query
function Db:replace(name) end

---@param name string
---@return mysql_query
function Db:update(name) end

---@param name string
---@return mysql_query
function Db:delete(name) end

---A query that is being built; each method gives it back. End with query(),
---row(), column() or single().
---@class mysql_query
---@field select fun(self: mysql_query, columns: string|string[]): mysql_query more columns
---@field from fun(self: mysql_query, name: string): mysql_query
---@field table fun(self: mysql_query, name: string): mysql_query as from
---@field into fun(self: mysql_query, name: string): mysql_query as from
---@field fromRaw fun(self: mysql_query, text: string): mysql_query not quoted
---@field distinct fun(self: mysql_query, on?: boolean): mysql_query
---@field forUpdate fun(self: mysql_query, on?: boolean): mysql_query
---@field join fun(self: mysql_query, kind: string, name: string, cond?: string, ...): mysql_query
---@field innerJoin fun(self: mysql_query, name: string, cond?: string, ...): mysql_query
---@field leftJoin fun(self: mysql_query, name: string, cond?: string, ...): mysql_query
---@field rightJoin fun(self: mysql_query, name: string, cond?: string, ...): mysql_query
---@field where fun(self: mysql_query, cond: string|table, ...): mysql_query values for its "?", or a table
---@field orWhere fun(self: mysql_query, cond: string|table, ...): mysql_query
---@field having fun(self: mysql_query, cond: string|table, ...): mysql_query
---@field orHaving fun(self: mysql_query, cond: string|table, ...): mysql_query
---@field groupBy fun(self: mysql_query, names: string|string[]): mysql_query
---@field orderBy fun(self: mysql_query, names: string|string[]): mysql_query
---@field orderByASC fun(self: mysql_query, names: string|string[]): mysql_query
---@field orderByDESC fun(self: mysql_query, names: string|string[]): mysql_query
---@field limit fun(self: mysql_query, n: integer): mysql_query
---@field offset fun(self: mysql_query, n: integer): mysql_query
---@field setPaging fun(self: mysql_query, rows: integer): mysql_query rows of a page (10)
---@field page fun(self: mysql_query, n: integer): mysql_query from 1 on
---@field cols fun(self: mysql_query, columns: table): mysql_query name = value, or names for bindValues()
---@field set fun(self: mysql_query, name: string, text: string, ...): mysql_query an expression
---@field ignore fun(self: mysql_query, on?: boolean): mysql_query
---@field bindValue fun(self: mysql_query, name: string|integer, value: mysql_value): mysql_query
---@field bindValues fun(self: mysql_query, values: mysql_params): mysql_query
---@field timeout fun(self: mysql_query, seconds: number): mysql_query
---@field union fun(self: mysql_query, columns?: string|string[]): mysql_query what follows is another select
---@field unionAll fun(self: mysql_query, columns?: string|string[]): mysql_query
---@field toSql fun(self: mysql_query): string, mysql_params
---@field query fun(self: mysql_query): mysql_row[]|integer?, string|integer?, string?, mysql_info?
---@field row fun(self: mysql_query): mysql_row?, string?, string?, mysql_info?
---@field column fun(self: mysql_query): any[]?, string?, string?, mysql_info?
---@field single fun(self: mysql_query): any, string?, string?, mysql_info?
