-- What happens in an app of gwrun.testing: turns of the roles, answers of the
-- fakes, bytes for the clients, until nothing is left to do; and time.
local core = require "gwrun.testing.core"
local fakes = require "gwrun.testing_fakes"

local M = {}

local patience = 60 -- seconds on the app's clock that a script may take to start
local rest_time = 20 -- real seconds in which everything must have happened

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
  app.sim:hang_up(client.fd)
  client.fd = nil
  if not client.closed then
    client.closed = { code = 1006, reason = client.refusal or "", status = client.status }
  end
end

-- What gateways have sent; false when there is nothing.
local function read_clients(app)
  local fds, by_fd = {}, {}
  for _, client in ipairs(app.open) do
    if client.fd and not client.slow then
      fds[#fds + 1] = client.fd
      by_fd[client.fd] = client
    end
  end
  local readable = app.sim:readable(fds)
  for _, fd in ipairs(readable) do read_client(app, by_fd[fd]) end
  return #readable > 0
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

local function forget_closed(app)
  local open = {}
  for _, client in ipairs(app.open) do
    if client.fd then open[#open + 1] = client end
    if client.fd and not client.id then
      client.id = app.sim:client_id(client.gateway, client.port)
    end
  end
  app.open = open
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
  until not busy
  forget_closed(app)
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
