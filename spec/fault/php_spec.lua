-- A worker of GatewayWorker's beside gwrun's. It acknowledges nothing: what it was
-- sent counts as begun. GATEWAYWORKER names a folder with the repositories
-- walkor/GatewayWorker, walkor/workerman and workerman-php/coroutine.
local faults = require "spec.fault.faults"
local lab = require "spec.fault.lab"
local loop = require "loop"
local process = require "process"
local uv = require "luv"

local folder = os.getenv "GATEWAYWORKER"

local function missing()
  if not folder then return "GATEWAYWORKER names no folder" end
  if not uv.fs_stat(folder .. "/workerman/src/Worker.php") then return folder .. " has no workerman" end
  local found, code = pcall(process.run, { "php", "-m" })
  if not found or code ~= 0 then return "no php" end
end

describe("a system with a PHP worker", function()
  local reason = missing()
  local system, php

  setup(function()
    if reason then return end
    system = lab.start { seed = 10, workers = { count = 1 } }
    php = process.spawn({ "php", "spec/fault/scripts/worker.php", "start" }, { env = {
      LAB_LOG = system.path, LAB_REGISTER = system.system.first.config.register_address[1],
    } })
    system.system.strangers = 1
    system:wait_healthy()
  end)

  teardown(function()
    if not system then return end
    php:kill "sigint"
    php:wait()
    system:stop()
  end)

  local function test(what, body)
    if reason then pending(what .. " (" .. reason .. ")") else it(what, body) end
  end

  local function settle()
    local broken, figures, counted = system:settle()
    for _, line in ipairs(figures) do io.stdout:write("# ", line, "\n") end
    assert.same({}, broken)
    assert.is_true(counted.messages > 80)
  end

  -- The pids that have begun something, without those of gwrun's own workers.
  local function php_workers()
    local pids = {}
    for line in io.lines(system.path) do
      local pid = line:match "^B (%d+)"
      if pid then pids[tonumber(pid)] = true end
    end
    for _, p in ipairs(system.system:processes "worker") do pids[p.pid] = nil end
    return pids
  end

  test("accounts for every message while gateways and registers die", function()
    system:begin_round()
    system:traffic(100)
    assert.is_truthy(next(php_workers()))
    for _, name in ipairs { "register_killed", "gateway_killed", "clients_reset" } do faults.run(system, name) end
    settle()
  end)

  test("accounts for every message when the PHP worker dies", function()
    system:begin_round()
    system:traffic(100)
    local pid = next(php_workers())
    system:fault "stranger_killed"
    system.signal(pid, "sigkill")
    loop.wait("PHP's next worker", function() return php.out:find("exit with status 9", 1, true) end)
    system:traffic(100)
    settle()
  end)
end)
