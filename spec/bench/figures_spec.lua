-- What bench/count decides about the figures that it has measured.
local figures = require "bench.figures"

local here = { gcc = "12.2.0 -O2", libc = "2.36", OpenSSL = "3.0.19" }

local function figure(case, role, count) return { case = case, role = role, count = count } end

local stored = figures.format(here, {
  figure("echo-64", "gateway", 4000),
  figure("echo-64", "worker", 5000),
  figure("reload", "gateway", 1000),
  figure("reload", "worker", 1000000),
})

describe("bench.figures", function()
  it("reads what it writes", function()
    local versions, counts = figures.parse(stored)
    assert.same(here, versions)
    assert.same({ gateway = 4000, worker = 5000 }, counts["echo-64"])
  end)

  it("refuses a line that is none of figures", function()
    assert.has_error(function() figures.parse "figure echo-64 gateway" end, "not a line of figures: figure echo-64 gateway")
  end)

  it("passes what is within the tolerance, or less than before", function()
    local lines, failed = figures.report(here, { figure("echo-64", "gateway", 4119), figure("echo-64", "worker", 2000) }, stored)
    assert.equal(0, failed)
    assert.is_nil(table.concat(lines):find "FAILED")
  end)

  it("fails what is beyond, with operation and both figures in one line", function()
    local lines, failed = figures.report(here, { figure("echo-64", "gateway", 4000), figure("echo-64", "worker", 5151) }, stored)
    assert.equal(1, failed)
    assert.is_nil(lines[1]:find "FAILED")
    assert.truthy(lines[2]:find("echo%-64 +worker +5151 +stored +5000 +%+3%.02 %% +FAILED: more than %+3 %%"))
  end)

  it("shows, but does not judge, what other versions need", function()
    local there = { gcc = "12.2.0 -O1", libc = "2.36", OpenSSL = "3.0.20" }
    local lines, failed = figures.report(there, { figure("echo-64", "worker", 9000) }, stored)
    assert.equal(0, failed)
    assert.truthy(lines[1]:find "9000 +stored +5000 +%+80%.00 %%")
    assert.is_nil(lines[1]:find "FAILED")
    assert.equal("not judged: OpenSSL is 3.0.20, was 3.0.19; gcc is 12.2.0 -O1, was 12.2.0 -O2", lines[2])
  end)

  it("does not judge by versions that were not stored, either", function()
    local more = { gcc = "12.2.0 -O2", libc = "2.36", OpenSSL = "3.0.19", cpu = "x86_64" }
    local lines, failed = figures.report(more, { figure("echo-64", "worker", 9000) }, stored)
    assert.equal(0, failed)
    assert.equal("not judged: cpu is x86_64, was none", lines[2])
  end)

  it("does not judge a process that hardly takes part", function()
    local lines, failed = figures.report(here, { figure("reload", "gateway", 9000), figure("reload", "worker", 1000000) }, stored)
    assert.equal(0, failed)
    assert.truthy(lines[1]:find "too little to judge")
  end)

  it("judges a process that hardly took part, and now does", function()
    local _, failed = figures.report(here, { figure("reload", "gateway", 90000), figure("reload", "worker", 1000000) }, stored)
    assert.equal(1, failed)
  end)

  it("passes a case that is new, and says so", function()
    local lines, failed = figures.report(here, { figure("echo-1", "worker", 9000) }, stored)
    assert.equal(0, failed)
    assert.truthy(lines[1]:find "no stored figure")
  end)
end)
