-- What happens in an app of gwrun.testing: turns of the roles, answers of the
-- fakes, bytes for the clients, until nothing is left to do; and time.
local core = require "gwrun.testing.core"
local fakes = require "gwrun.testing_fakes"

local M = {}

local patience = 60 -- seconds on the app's clock that a script may take to start
local rest_time = 20 -- real seconds in which everything must have happened

--- The clients of a list, sorted as they came.
function M.in_order(list)
  table.sort(list, function(a, b) return a.number < b.number end)
  return list
end

--- The connected clients, in no order: app.open.
function M.hang_up(app, client)
  app.sim:hang_up(client.fd)
  app.open[client.fd], app.nameless[client.number] = nil, nil
  client.fd = nil
end

-- The script's errors and lines out of the log.
local function read_log(app)
  local failure
  for _, line in ipairs(app.sim:log()) do
    local level, who, text = table.unpack(line)
    if core.log then io.stderr:write(who and level .. " " .. who .. ": " or "", text, "\n") end
    if not who then
      if failure then app.failures[#app.failures] = failure .. "\n" .. text end
    elseif who == "print" or who == "script" then
      failure = nil
      app.lines[#app.lines + 1] = { level = who == "print" and "print" or level, text = text }
    elseif level == "error" then
      failure = text
      app.failures[#app.failures + 1] = text
    else
      failure = nil
    end
  end
end

local function read_client(app, client)
  local data, ended = app.sim:receive(client.fd)
  client.protocol.feed(client, data)
  if not ended then return end
  M.hang_up(app, client)
  if not client.closed then
    client.closed = { code = 1006, reason = client.body or "", status = client.status }
  end
end

-- What gateways have sent; false when there is nothing.
local function read_clients(app)
  local list = app.sim:readable()
  for i, fd in ipairs(list) do list[i] = app.open[fd] end
  for _, client in ipairs(M.in_order(list)) do read_client(app, client) end
  return #list > 0
end

local function read_inbox(app)
  local questions = app.sim:inbox()
  for _, question in ipairs(questions) do
    if question[1] == "result" then
      app.results[question[2]] = question[3]
    else
      fakes.ask(app, question)
    end
  end
  return #questions > 0
end

--- Tell clients the client_ids that gateways gave them.
function M.name_clients(app)
  for gateway = 1, #app.entries do
    local id, number = app.sim:newcomer(gateway)
    while id do
      local client = app.nameless[number]
      if client then client.id = id end
      app.nameless[number] = nil
      id, number = app.sim:newcomer(gateway)
    end
  end
end

--- Until nothing is left to do.
function M.settle(app)
  local deadline = os.time() + rest_time
  repeat
    if not app.sim:settle() or os.time() > deadline then
      error("the script does not come to rest: something in it goes on without waiting", 0)
    end
    local busy = read_clients(app)
    busy = read_inbox(app) or busy
    busy = fakes.look_again(app) or busy
  until not busy
  M.name_clients(app)
  read_log(app)
end

--- Raise what went wrong in the script or a fake, unless errors are collected.
function M.complain(app)
  local failure = app.failures[1]
  if app.collects or failure == nil then return end
  app.failures = {}
  error(type(failure) == "string" and "the script: " .. failure or failure, 0)
end

--- Raise when the app was stopped.
function M.check(app, level)
  if not app.sim then error("the app was stopped", level + 1) end
end

--- Let everything happen that follows; raise what went wrong.
function M.act(app)
  M.settle(app)
  M.complain(app)
end

--- Move the clock to what is due next, but at most by so many milliseconds;
--- without single, on to what the test has something to do with.
function M.step(app, milliseconds, single)
  local moved = app.sim:step(math.min(milliseconds, fakes.wait_time(app)), single)
  fakes.wake(app, moved)
  M.settle(app)
  return moved
end

--- Time passes until done() or there was too much of it.
function M.wait_until(app, done, what)
  local left = patience * 1000
  M.settle(app)
  while not done() do
    if left <= 0 then error(("%s takes more than %d s"):format(what, patience), 0) end
    left = left - math.max(1, M.step(app, left, true))
  end
end

return M
