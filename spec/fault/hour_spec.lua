-- What was stopped for an hour and goes on must not run what others have run since: the
-- clocks of whole systems are put ahead while a process stands still. It is an hour
-- less a minute, since then the master would end it (hang_timeout).
local faults = require "spec.fault.faults"
local lab = require "spec.fault.lab"

local here = { { "a worker", "worker_frozen_for_an_hour" }, { "a gateway", "gateway_frozen_for_an_hour" },
  { "a worker of another machine", "far_worker_frozen_for_an_hour" },
  { "a worker of another machine that loses its links", "far_worker_frozen_for_an_hour_without_links" } }
local near = { { "a worker that loses its links", "worker_frozen_for_an_hour_without_links" } }

local function describe_hours(what, options, list)
  describe(what, function()
    local system

    setup(function()
      options.clock = true
      options.config = function(c) c.hang_timeout = 3600 end
      system = lab.start(options)
    end)
    teardown(function() if system then system:stop() end end)

    for _, entry in ipairs(list) do
      it("accounts for every message after an hour without " .. entry[1], function()
        system:begin_round()
        faults.run(system, entry[2], faults.hour)
        local broken, figures, counted = system:settle()
        for _, line in ipairs(figures) do io.stdout:write("# ", line, "\n") end
        assert.same({}, broken)
        assert.is_true(counted.messages > 80)
      end)
    end
  end)
end

describe_hours("two machines", { seed = 11, elsewhere = 1 }, here)
describe_hours("one machine with proxies in its links", { seed = 12, proxied = true }, near)

describe("the hours", function()
  it("have every kind of fault", function()
    local seen = {}
    for _, list in ipairs { here, near } do
      for _, entry in ipairs(list) do seen[entry[2]] = true end
    end
    for _, name in ipairs(faults.names(faults.hour)) do assert.is_true(seen[name], name) end
  end)
end)
