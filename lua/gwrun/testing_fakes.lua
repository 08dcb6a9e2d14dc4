-- The test's side of Mysql, Redis, Http, Socket and Websocket, for gwrun.testing: what
-- a script asks for goes to the functions that the test gives. Each runs in a coroutine
-- of its own and may wait on the app's clock.
local M = {}

local json = require "gwrun.json"

local null = json.null

local names = {
  mysql = 'mysql = function(sql, params) return rows end',
  redis = 'redis = testing.redis()',
  websocket = 'websocket = testing.websocket()',
  socket = 'socket = testing.socket()',
  http = 'http = function(request) return { status = 200, body = "" } end',
}

--- Wait, in a fake, until so many seconds have passed on the app's clock.
function M.sleep(seconds)
  local _, is_main = coroutine.running()
  if is_main or type(seconds) ~= "number" then
    error("testing.sleep: seconds expected, in a fake; a test uses app:advance()", 2)
  end
  coroutine.yield(math.max(1, math.floor(seconds * 1000 + 0.5)))
end

-- ---- questions on their way ----

-- Answer once.
local function finish(app, job, ...)
  if job.done then return end
  job.done = true
  app.sim:answer(job.id, ...)
end

local function fail(app, job, why)
  table.insert(app.failures, why)
  finish(app, job, false, "the test's fake failed: " .. tostring(why))
end

local function go_on(app, job, ...)
  local ok, wait = coroutine.resume(job.co, ...)
  if not ok then
    local why = wait
    if type(why) == "string" then why = debug.traceback(job.co, why) end
    fail(app, job, why)
  elseif coroutine.status(job.co) ~= "dead" then
    job.left = wait
    table.insert(app.jobs, job)
  end
end

local function start(app, question, name, f)
  local seconds = question[2]
  local job = { id = question.id, name = name, timeout = math.maxinteger }
  if type(seconds) == "number" and seconds < 1e9 then
    job.timeout = math.floor(seconds * 1000 + 0.5)
  end
  job.co = coroutine.create(function() f(job) end)
  go_on(app, job)
end

--- Milliseconds until a fake goes on.
function M.wait_time(app)
  local least = math.maxinteger
  for _, job in ipairs(app.jobs) do
    if not job.done then least = math.min(least, job.left, job.timeout) end
  end
  return least
end

--- So many milliseconds have passed.
function M.wake(app, milliseconds)
  local jobs = app.jobs
  app.jobs = {}
  for _, job in ipairs(jobs) do
    job.left = job.left - milliseconds
    job.timeout = job.timeout - milliseconds
    if job.done and job.waits_for_ever then
      job.co = nil
    elseif job.left <= 0 then
      go_on(app, job)
    elseif job.timeout <= 0 then
      finish(app, job, true, nil, job.name .. ": timed out", "etimedout")
    else
      table.insert(app.jobs, job)
    end
  end
end

-- ---- mysql ----

local transaction = {
  START = true, COMMIT = true, ROLLBACK = true, SAVEPOINT = true, RELEASE = true,
}

local function params_list(params)
  local list = {}
  for i = 1, params.n do
    local value = params[i]
    if math.type(value) == "float" then value = math.tointeger(value) or value end
    list[i] = value == nil and null or value
  end
  return list
end

local function first_column(rows)
  local values = {}
  for i, row in ipairs(rows) do
    values[i] = row
    if type(row) == "table" then
      local key, value = next(row)
      if next(row, key) ~= nil then
        error("mysql: the script asks for one column; return rows that have only that one", 0)
      end
      values[i] = value == nil and null or value
    end
  end
  return values
end

local function sql_error(failure, sql)
  local e = type(failure) == "table" and failure or { message = tostring(failure) }
  return e.message or "failed", e.code or "sql",
    { sqlstate = e.sqlstate or "HY000", errno = e.errno or 1105, sql = sql }
end

local function answer_mysql(app, job, question)
  local _, _, sql, params, column = table.unpack(question, 1, 5)
  local list = params_list(params)
  table.insert(app.mysql.queries, { sql = sql, params = list })
  if transaction[(sql:match "^%a+" or ""):upper()] then return finish(app, job, true, 0, 0) end
  local result, extra = app.fakes.mysql(sql, list)
  if result == nil then
    extra = extra or "the fake returned nothing; return {} for no rows"
    return finish(app, job, true, nil, sql_error(extra, sql))
  end
  if column and type(result) == "table" then result = first_column(result) end
  return finish(app, job, true, result, extra or 0)
end

-- ---- http ----

local function answer_http(app, job, question)
  local options = question[3]
  local request = { method = options.method, url = options.url, body = options.body, headers = {} }
  for _, line in ipairs(options.headers) do
    local name, value = line:match "^([^:;]+)[:;] ?(.*)$"
    request.headers[name:lower()] = value
  end
  table.insert(app.http.requests, request)
  local response, message, code = app.fakes.http(request)
  if response == nil then
    message = "http: " .. tostring(message or "failed")
    return finish(app, job, true, nil, message, code or "econnrefused")
  end
  local body = response.chunks or response.body or ""
  local head = { "HTTP/1.1 " .. (response.status or 200) }
  if response.json ~= nil then body = json.encode(response.json) end
  for name, value in pairs(response.headers or {}) do head[#head + 1] = name .. ": " .. value end
  return finish(app, job, true, response.status or 200, table.concat(head, "\r\n") .. "\r\n\r\n",
    body, options.url)
end

-- ---- redis ----

local function error_reply(message)
  message = tostring(message)
  return { error = message, code = (message:match "^(%S+)" or "err"):lower() }
end

-- Call the store in memory; a command that may wait does, until keys change or
-- its time is over.
local function call_store(app, job, command)
  local block, pinned = app.fakes.redis:block_of(command)
  local value, message = app.fakes.redis:call(table.unpack(pinned))
  if not block or not job then return value, message end
  local ends = block > 0 and app.sim:now() + block / 1000 or math.huge
  while value == nil and not message and app.sim:now() < ends and not job.done do
    job.waits = true
    coroutine.yield(math.ceil(math.min((ends - app.sim:now()) * 1000, 1e12)))
    job.waits = false
    value, message = app.fakes.redis:call(table.unpack(pinned))
  end
  return value, message
end

--- Keys have changed: whoever waits for that looks again. False: nobody did.
function M.look_again(app)
  local jobs, found = app.jobs, false
  if not app.redis_changed then return false end
  app.redis_changed, app.jobs = false, {}
  for _, job in ipairs(jobs) do
    found = found or job.waits
    if job.waits then go_on(app, job) else table.insert(app.jobs, job) end
  end
  return found or false
end

-- A fake is a function, or a store in memory.
local function redis_reply(app, command, job)
  table.insert(app.redis.commands, command)
  local fake = app.fakes.redis
  local value, message
  if type(fake) == "function" then
    value, message = fake(table.unpack(command))
  else
    value, message = call_store(app, job, command)
  end
  if value == nil and message then return error_reply(message) end
  return value == nil and null or value
end

local function run_queue(app, queue)
  local replies = {}
  for i, command in ipairs(queue) do replies[i] = redis_reply(app, command) end
  return replies
end

-- What MULTI collects runs when EXEC comes, unless a watched key has changed.
local function run_commands(app, job, connection, commands)
  local replies, queue = {}, nil
  local store = type(app.fakes.redis) == "table" and app.fakes.redis or nil
  for i, command in ipairs(commands) do
    local name = tostring(command[1]):upper()
    if name == "MULTI" then
      queue, replies[i] = {}, "OK"
    elseif name == "EXEC" and queue then
      local changed = store and store:unwatch(connection)
      replies[i] = changed and null or run_queue(app, queue)
      queue = nil
    elseif name == "WATCH" or name == "UNWATCH" then
      if store and name == "WATCH" then store:watch(connection, { table.unpack(command, 2) }) end
      if store and name == "UNWATCH" then store:unwatch(connection) end
      replies[i] = "OK"
    elseif queue then
      queue[#queue + 1], replies[i] = command, "QUEUED"
    else
      replies[i] = redis_reply(app, command, job)
    end
  end
  return replies
end

local function answer_redis(app, job, question)
  finish(app, job, true, run_commands(app, job, question[3], question[4]))
end

local function answer_listen(app, job, question)
  if type(app.fakes.redis) == "function" then
    error("redis: a function cannot serve subscriptions; give redis = testing.redis()", 0)
  end
  finish(app, job, true, true)
  app.fakes.redis:listen(question[3], question[4]) -- what it says comes after that
end

local function answer_next(app, job, question)
  app.fakes.redis:receive(question[3], function(message)
    if message then return finish(app, job, true, message) end
    finish(app, job, true, nil, "redis: the connection was closed", "ecanceled")
  end)
end

local function close_redis(app, _, question)
  if type(app.fakes.redis) == "table" then app.fakes.redis:forget(question[2]) end
end

-- ---- websockets ----

local function open_websocket(app, job, question)
  local function answer(...) finish(app, job, true, ...) end
  app.fakes.websocket:_open(question[3], question[4], answer)
end

local function receive_websocket(app, job, question)
  local function answer(waiting, ...) finish(app, waiting, ...) end
  app.fakes.websocket:_receive(question[3], job, answer)
  job.waits_for_ever = true -- or until its timeout
  if not job.done then coroutine.yield(1e15) end
end

local function send_websocket(app, _, question)
  app.fakes.websocket:_send(question[2], question[3])
end

local function close_websocket(app, _, question)
  app.fakes.websocket:_close(question[2], question[3], question[4])
end

-- ---- sockets ----

local function open_socket(app, job, question)
  local function answer(...) finish(app, job, true, ...) end
  app.fakes.socket:_open(question[3], question[4], answer)
end

local function read_socket(app, job, question)
  local function answer(waiting, ...) finish(app, waiting, ...) end
  app.fakes.socket:_read(question[3], question[4], job, answer)
  job.waits_for_ever = true -- or until its timeout
  if not job.done then coroutine.yield(1e15) end
end

local function start_tls(app, job, question)
  app.fakes.socket:_start_tls(question[3], function(...) finish(app, job, true, ...) end)
end

local function write_socket(app, _, question)
  app.fakes.socket:_write(question[2], question[3])
end

local function close_socket(app, _, question) app.fakes.socket:_close(question[2]) end

local kinds = {
  socket_open = { "socket", open_socket },
  socket_read = { "socket", read_socket },
  socket_tls = { "socket", start_tls },
  socket_write = { "socket", write_socket },
  socket_close = { "socket", close_socket },
  websocket_open = { "websocket", open_websocket },
  websocket_receive = { "websocket", receive_websocket },
  websocket_send = { "websocket", send_websocket },
  websocket_close = { "websocket", close_websocket },
  mysql = { "mysql", answer_mysql },
  http = { "http", answer_http },
  redis = { "redis", answer_redis },
  redis_listen = { "redis", answer_listen },
  redis_next = { "redis", answer_next },
  redis_close = { "redis", close_redis },
}

--- Deal with what a script asks.
function M.ask(app, question)
  local kind = kinds[question[1]]
  local name, f = table.unpack(kind)
  if not app.fakes[name] then
    app.sim:answer(question.id, false,
      ("%s: this test has none; give testing.start { %s }"):format(name, names[name]))
    return
  end
  start(app, question, name, function(job) f(app, job, question) end)
end

--- The fakes of an app, from the options of testing.start().
function M.install(app, options)
  if type(options.redis) == "table" then
    options.redis.on_change = function() app.redis_changed = true end
    options.redis.now = function() return app.sim and app.sim:now() or os.time() end
  end
  app.jobs = {}
  app.fakes = {
    mysql = options.mysql, redis = options.redis, http = options.http,
    websocket = options.websocket, socket = options.socket,
  }
  app.mysql, app.redis, app.http = { queries = {} }, { commands = {} }, { requests = {} }
end

return M
