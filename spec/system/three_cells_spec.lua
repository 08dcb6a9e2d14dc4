-- The calls of Gateway give the same answers, and the same bytes to everybody, when the clients are
-- spread over three cells as when all are in one; from a worker of each cell.
local calls = require "calls"
local cluster = require "cluster"
local population = require "population"
local redisserver = require "redisserver"

local TOGETHER = 12 -- cases that are run one after the other before anybody looks
local SEPARATOR = " next: "

-- Cases in rounds: those with clients of their own are alone, those that change who has which name
-- are last.
local function rounds_of(cases)
  local rounds, round = {}, {}
  local function finish()
    if #round > 0 then rounds[#rounds + 1] = round end
    round = {}
  end
  for _, case in ipairs(cases) do
    local alone = case.fresh or case.by
    if alone or #round == TOGETHER then finish() end
    round[#round + 1] = case
    if alone or case.changes then finish() end
  end
  finish()
  return rounds
end

local function parts_of(answer)
  local list = {}
  for part in ((answer:match '^true, "(.*)"$' or answer) .. SEPARATOR):gmatch("(.-)" .. SEPARATOR) do
    list[#list + 1] = part:gsub('\\"', '"'):gsub("\\\\", "\\")
  end
  return list
end

-- Run pieces of Lua, each a function's body: what each returned.
local function run(world, who, bodies)
  if #bodies == 1 then return { (world:ask(who, bodies[1])) } end
  local lua = { "local list = {}" }
  for i, body in ipairs(bodies) do lua[i + 1] = ("list[%d] = DUMP(pcall(function() %s end))"):format(i, body) end
  lua[#lua + 1] = ("return table.concat(list, %q)"):format(SEPARATOR)
  return parts_of(world:ask(who, table.concat(lua, " ")))
end

-- Run a round: what the cases returned, and what everybody got.
local function play(world, round, caller)
  local case, bodies = round[1], {}
  for i, one in ipairs(round) do bodies[i] = one[1] end
  for i, listener in ipairs(case.fresh or {}) do world:newcomer("x" .. i, listener, i) end
  if case.by then world:newcomer("x0", "text", caller) end
  local returned = run(world, case.by and "x0" or "caller", bodies)
  if round[#round].changes then world:settle "caller" end
  local outcome = { returned = returned, got = world:collect "caller" }
  for i = 1, #(case.fresh or {}) do world:forget("x" .. i) end
  if case.by then world:forget "x0" end
  return outcome
end

local function short(text) return #text > 600 and text:sub(1, 300) .. "…" .. text:sub(-300) or text end

-- What differs, in words.
local function compare(round, one, three, list)
  local function differ(lua, what, a, b)
    if a == b then return end
    list[#list + 1] = ("%s\n  %s\n  in one cell:    %q\n  in three cells: %q")
      :format(lua, what, short(a or "nothing"), short(b or "nothing"))
  end
  for i, case in ipairs(round) do
    differ(case[1], "returns", case.cluster or one.returned[i], three.returned[i])
    if case.cluster and one.returned[i] == case.cluster then differ(case[1], "returns in one cell, too,", nil, case.cluster) end
  end
  for name, bytes in pairs(one.got) do
    if bytes ~= three.got[name] then
      local all = {}
      for i, case in ipairs(round) do all[i] = case[1] end
      differ(table.concat(all, "\n"), "gives " .. name, bytes, three.got[name])
    end
  end
end

-- Differences, and what the cells have to say about them.
local function report(differences, cells)
  local lines = table.move(differences, 1, #differences, 1, {})
  for _, cell in ipairs(cells) do
    for line in cell:log():gmatch "[^\n]* warn [^\n]*" do lines[#lines + 1] = line end
  end
  return "\n" .. table.concat(lines, "\n") .. "\n" .. #differences .. " differences"
end

describe("in three cells as in one", function()
  local redis, one, three

  setup(function()
    redis = redisserver.start()
    one = population.start(redis, 1)
    three = population.start(redis, 3)
  end)

  teardown(function()
    if one then one:stop() end
    if three then three:stop() end
    redis:stop()
  end)

  it("is every call there is tried", function()
    one:populate(1)
    local there = one:ask("caller", population.CALLS)
    one:disperse()
    local tried = {}
    for _, case in ipairs(calls.cases) do
      for name in case[1]:gmatch "Gateway%.(%a+)" do tried[name] = true end
    end
    local count = 0
    for name in there:match '"(.*)"':gmatch "%a+" do
      assert(tried[name], name .. " is in no case of spec/support/calls.lua")
      assert(calls.arguments[name] or calls.wrong_among_cases[name], name .. " is not tried with wrong arguments")
      count = count + 1
    end
    assert.is_true(count >= 47, count)
  end)

  -- How often one of the three cells' processes was away: what crosses then is lost.
  local function gaps()
    local total = 0
    for _, cell in ipairs(three.cells) do
      cluster.wait_up(cell, #population.listeners, 1)
      for _, role in ipairs { "gateway", "worker" } do total = total + cluster.exact_sum(cell, role, "engine_gaps") end
    end
    return total
  end

  -- Play the rounds in both worlds. On a busy machine there may be a gap: then once more.
  local function hold(rounds, caller)
    local differences, before
    for _ = 1, 3 do
      differences, before = {}, gaps()
      local ok, message = pcall(function()
        for _, world in ipairs { one, three } do world:populate(caller) end
        for _, round in ipairs(rounds) do
          compare(round, play(one, round, caller), play(three, round, caller), differences)
        end
      end)
      if not ok then differences[#differences + 1] = message end
      for _, world in ipairs { one, three } do world:disperse() end
      if #differences == 0 or gaps() == before then break end
    end
    assert(#differences == 0, report(differences, three.cells))
  end

  for caller, cell in ipairs { "a", "b", "c" } do
    it("is every answer, and what everybody gets, when a worker of cell " .. cell .. " asks", function()
      hold(rounds_of(calls.cases), caller)
    end)

    it("is what is wrong refused, when a worker of cell " .. cell .. " asks", function()
      local rounds = {}
      for name in pairs(calls.arguments) do
        local round = {}
        for i, call in ipairs(calls.wrongly(name)) do round[i] = { "return " .. call } end
        rounds[#rounds + 1] = round
      end
      hold(rounds, caller)
    end)
  end
end)
