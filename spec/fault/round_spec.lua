-- The short round: every kind of fault once, by a fixed seed, and the accounts. What
-- is not promised yet is printed as a figure.
local faults = require "spec.fault.faults"
local lab = require "spec.fault.lab"

-- Each kind of fault is in one of these rounds.
local rounds = {
  { "reloads, good, slow and broken", { "reloaded", "slow_script_loaded", "broken_script_refused" } },
  { "kill -9 of workers", { "worker_killed", "all_workers_killed" } },
  { "kill -9 of gateways", { "gateway_killed" } },
  { "kill -9 of a gateway with a worker", { "gateway_and_worker_killed" } },
  { "the end of the register", { "register_killed", "register_frozen" } },
  { "kill -9 of the master", { "master_killed" } },
  { "a machine off and on", { "power_lost" } },
  { "a machine that is booted anew", { "booted_anew" } },
  { "a machine that is booted anew with damaged books", { "booted_with_cut_books", "booted_with_garbled_books",
    "booted_with_flipped_words" } },
  { "an orderly end", { "worker_ended", "stopped_and_started" } },
  { "a worker that does not move", { "worker_stalled" } },
  { "processes that froze and thawed", { "worker_frozen", "gateway_frozen", "master_frozen" } },
  { "descriptors that are out", { "gateway_out_of_descriptors", "gateway_out_of_descriptors_and_worker_killed",
    "worker_out_of_descriptors", "master_out_of_descriptors" } },
  { "clients that come and go", { "clients_reset", "clients_left", "stampede", "clients_slow_and_silent" } },
  { "clients' connections that break", { "client_way_in_bytes", "client_way_stalled", "client_way_half_closed",
    "client_way_closed", "client_way_reset" } },
}

-- Nothing runs twice, whatever becomes of links between processes of one machine.
local rounds_near = {
  { "own links that break", { "own_links_reset", "own_links_closed", "own_links_half_closed" } },
  { "own links that the kernel destroys", { "own_links_destroyed" } },
  { "own links that break as a worker is stopped", { "worker_frozen_as_its_links_break",
    "worker_frozen_as_its_links_break" } },
  { "own links that break as a worker dies", { "own_links_reset_and_worker_killed" } },
}

local rounds_between = {
  { "kill -9 of gateways whose workers are elsewhere", { "gateway_killed", "gateway_killed" } },
  { "kill -9 of a gateway with a worker of another machine", { "gateway_and_worker_killed" } },
  { "kill -9 of the master, with workers elsewhere that live", { "master_killed" } },
  { "links cut into bytes, and stalled", { "links_in_bytes", "one_gateways_links_stalled" } },
  { "links that the kernel destroys", { "links_destroyed" } },
  { "links that break", { "links_reset", "links_closed", "links_half_closed" } },
  { "links that break as a worker dies", { "links_reset_and_worker_killed" } },
  { "links that break as a far worker is stopped", { "far_worker_frozen_as_its_links_break",
    "far_worker_frozen_as_its_links_break" } },
  { "a machine of workers off and on", { "workers_machine_off" } },
}

local function describe_rounds(what, options, list)
  describe(what, function()
    local system

    setup(function() system = lab.start(options) end)
    teardown(function() if system then system:stop() end end)

    for _, entry in ipairs(list) do
      it("accounts for every message after " .. entry[1], function()
        system:begin_round()
        for _, name in ipairs(entry[2]) do faults.run(system, name) end
        local broken, figures, counted = system:settle()
        for _, line in ipairs(figures) do io.stdout:write("# ", line, "\n") end
        assert.same({}, broken)
        assert.is_true(counted.messages > 80)
      end)
    end
  end)
end

describe_rounds("one machine", { seed = 1 }, rounds)
describe_rounds("one machine with proxies in its links", { seed = 3, proxied = true }, rounds_near)
describe_rounds("a machine of gateways and one of workers", { seed = 2, workers = { count = 1 }, elsewhere = 2 },
  rounds_between)

describe("the short round", function()
  it("has every kind of fault", function()
    local seen = {}
    for _, list in ipairs { rounds, rounds_near, rounds_between } do
      for _, entry in ipairs(list) do
        for _, name in ipairs(entry[2]) do seen[name] = true end
      end
    end
    for _, list in ipairs { faults.here, faults.near, faults.between } do
      for _, name in ipairs(faults.names(list)) do assert.is_true(seen[name], name) end
    end
  end)
end)
