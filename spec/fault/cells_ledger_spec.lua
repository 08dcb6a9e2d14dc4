-- The ledger of what crosses cells finds what it must: a round in which all is well, and
-- doctored copies of it.
local ledger = require "spec.fault.cells_ledger"
local promises = require "spec.fault.promises"
local rows = require("spec.fault.cells_promises").rows

local BEGAN = os.time { year = 2026, month = 3, day = 1, hour = 12, min = 0, sec = 0 }

local function stamp(seconds)
  local at = BEGAN + seconds
  return os.date("%Y-%m-%dT%H:%M:", at // 1) .. ("%06.3f"):format(at % 60)
end

-- A line of a cell's log.
local function logged(seconds, process, text) return ("%s [%s] notice engine_redis: %s\n"):format(stamp(seconds), process, text) end

-- Every cell has a worker 100 and a gateway 200 and one client; each sends to all at
-- 10, 20 … seconds, to the group, and to the uid of the next one.
local function healthy()
  local h = { script = {}, lives = {}, logs = {}, lost = {}, dead = {}, killed = {}, may_be_gone = {}, free = {},
    recoveries = {}, inside = 0, faulty = 0, began = BEGAN }
  for cell = 1, 5 do
    h.logs[cell] = logged(-20, ("%d worker/0"):format(100 + cell), "the cluster is there cluster=lab")
      .. logged(-20, ("%d gateway/0"):format(200 + cell), "the cluster is there cluster=lab")
    h.lives[cell] = { cell = cell, token = "life" .. cell, id = "id" .. cell, gateway = cell .. " gateway/0", came = {},
      ended = "orderly", ended_at = BEGAN + 100 }
    table.insert(h.script, ("%.3f J id%d u%d all,g%d true true"):format(BEGAN + 1, cell, cell, cell % 2))
  end
  local function send(at, cell, number, kind, target, receivers)
    local name = ("%d-%d-abcd-%d-%.3f"):format(cell, 100 + cell, number, BEGAN + at)
    table.insert(h.script, ("%.3f X %s %s %s true"):format(BEGAN + at, name, kind, target))
    for _, life in ipairs(receivers) do table.insert(h.lives[life].came, name) end
  end
  for round = 1, 6 do
    for cell = 1, 5 do
      send(10 * round, cell, 3 * round, "all", "-", { 1, 2, 3, 4, 5 })
      send(10 * round + 1, cell, 3 * round + 1, "groups", "g1,nobody", { 1, 3, 5 })
      send(10 * round + 2, cell, 3 * round + 2, "uid", "u" .. cell % 5 + 1, { cell % 5 + 1 })
    end
  end
  return h
end

local function judge(h)
  local i = 0
  h.lines = function()
    i = i + 1
    return h.script[i]
  end
  return ledger.judge(h)
end

-- The kinds of what was found.
local function kinds(h)
  local list = {}
  for kind in pairs(judge(h)) do list[#list + 1] = kind end
  table.sort(list)
  return list
end

-- The name of what a worker sent first to all, or with an offset behind that, in a round.
local function name_of(cell, round, offset)
  return ("%d-%d-abcd-%d-%.3f"):format(cell, 100 + cell, 3 * round + (offset or 0), BEGAN + 10 * round + (offset or 0))
end

local function index_of(life, name)
  for i, came in ipairs(life.came) do
    if came == name then return i end
  end
end

local function lose(h, life, name) assert(table.remove(h.lives[life].came, assert(index_of(h.lives[life], name)))) end

-- The script was told something else.
local function tell(h, name, result)
  for i, line in ipairs(h.script) do
    if line:find(name, 1, true) then h.script[i] = line:gsub("true$", result) end
  end
end

local function log(h, cell, ...) h.logs[cell] = h.logs[cell] .. logged(...) end

describe("the ledger of what crosses cells", function()
  it("finds nothing where all is well, and counts it", function()
    local findings, counted = judge(healthy())
    assert.same({}, findings)
    assert.same({ 90, 6 * 5 * 9, 6 * 5 * 9 }, { counted.sends, counted.arrived, counted.due })
  end)

  it("finds what is missing, whatever it was sent to", function()
    for _, missing in ipairs { { 2, name_of(1, 3) }, { 3, name_of(2, 3, 1) }, { 5, name_of(4, 3, 2) } } do
      local h = healthy()
      lose(h, missing[1], missing[2])
      assert.same({ "crossing_missing" }, kinds(h))
    end
  end)

  it("finds what is missing inside a cell, unless that was counted", function()
    local h = healthy()
    lose(h, 1, name_of(1, 3))
    assert.same({ "inside_missing" }, kinds(h))
    h.inside = 1
    assert.same({}, kinds(h))
  end)

  it("takes what a script was told for a reason", function()
    for _, result in ipairs { "unknown_cell", "local", "enotconn" } do
      local h = healthy()
      lose(h, 2, name_of(1, 3))
      tell(h, name_of(1, 3), result)
      assert.same(result == "local" and { "told_wrongly" } or {}, kinds(h))
      log(h, 1, 29, "101 worker/0", "the cluster is away, this cell goes on by itself: x")
      log(h, 1, 31, "101 worker/0", "the cluster is there cluster=lab away_ms=2000")
      h.script[#h.script + 1] = ("%.3f P cell1 2.000"):format(BEGAN + 40)
      assert.same({}, kinds(h))
    end
  end)

  it("takes a gap of the sender's worker or the receiver's gateway for a reason, and of nobody else", function()
    local function away(cell, process, from, to, away_ms)
      local h = healthy()
      lose(h, 2, name_of(1, 3)) -- at 30
      log(h, cell, from, process, "the cluster is away, this cell goes on by itself: x")
      log(h, cell, to, process, "the cluster is there cluster=lab away_ms=" .. away_ms)
      h.script[#h.script + 1] = ("%.3f P cell%d 5.000"):format(BEGAN + to + 8, cell)
      return kinds(h)
    end
    assert.same({}, away(1, "101 worker/0", 28, 33, 5000))
    assert.same({}, away(2, "202 gateway/0", 28, 33, 5000))
    assert.same({}, away(2, "202 gateway/0", 30.9, 33, 2100))
    assert.same({}, away(2, "202 gateway/0", 25, 29.1, 4100))
    assert.same({}, away(2, "202 gateway/0", 40, 41, 12000)) -- it was noticed late
    assert.same({ "crossing_missing" }, away(2, "202 gateway/0", 31.2, 33, 1800))
    assert.same({ "crossing_missing" }, away(2, "202 gateway/0", 25, 28.8, 3800))
    assert.same({ "crossing_missing" }, away(1, "201 gateway/0", 28, 33, 5000))
    assert.same({ "crossing_missing" }, away(2, "102 worker/0", 28, 33, 5000))
    assert.same({ "crossing_missing" }, away(3, "203 gateway/0", 28, 33, 5000))
  end)

  it("takes the time until a new process has joined for a reason", function()
    local h = healthy()
    lose(h, 2, name_of(1, 3))
    log(h, 2, 29, "302 gateway/0", "ready")
    log(h, 2, 31, "302 gateway/0", "the cluster is there cluster=lab")
    assert.same({}, kinds(h))
    lose(h, 2, name_of(1, 4))
    assert.same({ "crossing_missing" }, kinds(h))
  end)

  it("takes what the worker counted as lost for a reason, once for each, near its gap", function()
    local h = healthy()
    lose(h, 2, name_of(1, 3))
    lose(h, 3, name_of(1, 3))
    log(h, 1, 35, "101 worker/0", "the cluster is away, this cell goes on by itself: x")
    log(h, 1, 36, "101 worker/0", "the cluster is there cluster=lab away_ms=1000")
    h.script[#h.script + 1] = ("%.3f P cell1 1.000"):format(BEGAN + 45)
    assert.same({ "crossing_missing" }, kinds(h))
    h.lost["101"] = 1
    assert.same({}, kinds(h))
    lose(h, 5, name_of(1, 3, 1))
    lose(h, 2, name_of(1, 2))
    assert.same({ "crossing_missing" }, kinds(h))
  end)

  it("takes the end of a worker for a reason, while Redis may not have confirmed", function()
    local h = healthy()
    lose(h, 2, name_of(1, 6, 2))
    assert.same({ "crossing_missing" }, kinds(h))
    h.dead["101"] = true
    assert.same({}, kinds(h))
    lose(h, 2, name_of(1, 6))
    assert.same({}, kinds(h))
    lose(h, 2, name_of(1, 5))
    assert.same({ "crossing_missing" }, kinds(h))
  end)

  it("expects nothing for who left shortly after, or had not joined", function()
    local h = healthy()
    lose(h, 2, name_of(1, 3))
    h.lives[2].ended, h.lives[2].ended_at = "abrupt", BEGAN + 33
    for round = 4, 6 do
      for cell = 1, 5 do lose(h, 2, name_of(cell, round)) end
      lose(h, 2, name_of(1, round, 2))
    end
    assert.same({}, kinds(h))
    lose(h, 2, name_of(1, 2))
    assert.same({ "crossing_missing" }, kinds(h))
    h = healthy()
    lose(h, 3, name_of(1, 3, 1))
    h.script[3] = h.script[3]:gsub("true true", "true etimedout")
    assert.same({}, kinds(h))
  end)

  it("finds what came twice, in another order, to others, or from nobody", function()
    local h = healthy()
    table.insert(h.lives[2].came, name_of(1, 3))
    assert.same({ "crossing_twice" }, kinds(h))
    h = healthy()
    local came = h.lives[2].came
    local i, j = index_of(h.lives[2], name_of(1, 2)), index_of(h.lives[2], name_of(1, 3))
    came[i], came[j] = came[j], came[i]
    assert.same({ "crossing_reordered" }, kinds(h))
    h = healthy()
    table.insert(h.lives[4].came, name_of(5, 6, 2)) -- for u1
    assert.same({ "crossing_astray" }, kinds(h))
    h = healthy()
    table.insert(h.lives[4].came, "1-101-abcd-99-1.000")
    assert.same({ "crossing_unsent" }, kinds(h))
    h.dead["101"] = true -- before it could write that down
    assert.same({}, kinds(h))
    h = healthy()
    table.insert(h.script, ("%.3f X 1-101-abcd-99-%.3f client id4 unknown_cell"):format(BEGAN + 70, BEGAN + 70))
    assert.same({}, kinds(h))
    table.insert(h.lives[4].came, ("1-101-abcd-99-%.3f"):format(BEGAN + 70))
    assert.same({ "crossing_unsent" }, kinds(h))
  end)

  it("finds who was told of cells that are gone too often, in vain, or not at all", function()
    local function gone(killed, may_be_gone, ...)
      local h = healthy()
      h.killed.cell2, h.may_be_gone.cell2 = killed, may_be_gone
      for _, cell in ipairs { ... } do h.script[#h.script + 1] = ("%.3f G %s %.3f"):format(BEGAN + 60, cell, BEGAN + 30) end
      return kinds(h)
    end
    assert.same({}, gone(1, nil, "cell2"))
    assert.same({}, gone(nil, 1, "cell2"))
    assert.same({}, gone(nil, 1))
    assert.same({ "gone_missing" }, gone(1))
    assert.same({ "gone_twice" }, gone(1, nil, "cell2", "cell2"))
    assert.same({ "gone_wrong" }, gone(1, nil, "cell2", "cell3"))
  end)

  it("finds a gap that no script was told of", function()
    local h = healthy()
    log(h, 4, 25, "204 gateway/0", "the cluster is away, this cell goes on by itself: x")
    log(h, 4, 26, "204 gateway/0", "the cluster is there cluster=lab away_ms=1000")
    assert.same({ "gap_untold" }, kinds(h))
    h.dead["204"] = true -- with those who are to be told
    assert.same({}, kinds(h))
    h.dead["204"] = nil
    h.script[#h.script + 1] = ("%.3f P cell3 1.000"):format(BEGAN + 40)
    assert.same({ "gap_untold" }, kinds(h))
    h.script[#h.script + 1] = ("%.3f P cell4 1.000"):format(BEGAN + 40)
    assert.same({}, kinds(h))
  end)

  it("finds faults that cost what they must not, and cells that are late", function()
    local h = healthy()
    h.free = { { name = "replica_killed", gaps = 0 } }
    h.recoveries = { { name = "cell_killed", seconds = 12, bound = 45 } }
    assert.same({}, kinds(h))
    h.free[1].gaps, h.recoveries[1].seconds, h.faulty = 1, 46, 1
    assert.same({ "crossing_faulty", "free_fault_cost", "recovery_late" }, kinds(h))
  end)

  it("does not pass what it has not counted", function()
    local h = healthy()
    for _, life in ipairs(h.lives) do life.came = {} end
    assert.same({ "crossing_missing", "inside_missing", "nothing_crossed" }, kinds(h))
    h = healthy()
    table.insert(h.script, "1.000 Y x")
    table.insert(h.script, "1.000 X no-name all - true")
    assert.equal(2, judge(h):count "line_unreadable")
  end)

  it("has a promise for each finding", function()
    local findings = {}
    for _, row in ipairs(rows) do findings[row.finding] = { count = 1, examples = {} } end
    local broken, figures = promises.hold(findings, {}, rows)
    assert.same({ #rows, 0 }, { #broken, #figures })
  end)
end)
