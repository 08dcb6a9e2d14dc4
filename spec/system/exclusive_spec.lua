-- A uid that only one client may have, in a system of one cell.
local cluster = require "cluster"
local loop = require "loop"

describe("an exclusive uid", function()
  local cell

  setup(function()
    cell = cluster.start({ path = "" }, "a", {
      gateways = { { listen = "text" }, { listen = "text" } },
      config = function(config) config.cluster = nil end,
    })
  end)

  teardown(function() cell:stop() end)

  it("is its last login's, of twenty at once", function()
    local people = {}
    for i = 1, 20 do people[i] = cluster.person(cell, i % 2 + 1) end
    for _, who in ipairs(people) do who.client:send "return Gateway.bindUid(..., 'ann', { exclusive = true })\n" end
    loop.poll("one to be left", function()
      local left = 0
      for _, who in ipairs(people) do left = left + (who.client.ended and 0 or 1) end
      return left == 1
    end, 60)
    local late = cluster.person(cell)
    assert.is_true(late:run "return Gateway.bindUid(..., 'ann', { exclusive = true, wait = true })")
    for _, who in ipairs(people) do who.client:wait_end() end
    assert.same({ late:run "return ..." }, late:run "return Gateway.getClientIdByUid 'ann'")
  end)

  it("closes those who have it without asking for that, and may be shared again", function()
    local ann, bob = cluster.person(cell, 1), cluster.person(cell, 2)
    assert.is_true(ann:run "return Gateway.bindUid(..., 'both')")
    assert.is_true(bob:run "return Gateway.bindUid(..., 'both', { exclusive = true })")
    ann.client:wait_end()
    local eve = cluster.person(cell)
    assert.is_true(eve:run "return Gateway.bindUid(..., 'both', { exclusive = false })")
    assert.equal(2, #bob:run "return Gateway.getClientIdByUid 'both'")
  end)

  it("is nobody's whose client is gone, and then closes nobody", function()
    local ann, gone, watch = cluster.person(cell, 1), cluster.person(cell, 2), cluster.person(cell)
    assert.is_true(ann:run "return Gateway.bindUid(..., 'hers', { exclusive = true, wait = true })")
    local id = gone:run "return ..."
    gone.client:close()
    loop.poll("the end", function() return not watch:run("return Gateway.isOnline('%s')", id) end)
    assert.is_true(watch:run("return Gateway.bindUid('%s', 'hers', { exclusive = true })", id))
    assert.is_false(watch:run("return Gateway.bindUid('%s', 'hers', { exclusive = true, wait = true })", id))
    assert.same({ ann:run "return ..." }, watch:run "return Gateway.getClientIdByUid 'hers'")
    local bob = cluster.person(cell, 2)
    assert.is_true(bob:run "return Gateway.bindUid(..., 'hers', { exclusive = true, wait = true })")
    ann.client:wait_end()
  end)

  it("says when the client is gone, and what is no option", function()
    local ann, bob = cluster.person(cell), cluster.person(cell)
    local id = ann:run "return ..."
    assert.is_true(ann:run "return Gateway.joinGroup(..., { 'a', 'b' }, { wait = true })")
    ann.client:close()
    loop.poll("the end", function() return not bob:run("return Gateway.isOnline('%s')", id) end)
    assert.is_false(bob:run("return Gateway.joinGroup('%s', 'a', { wait = true })", id))
    assert.is_false(bob:run("return Gateway.bindUid('%s', 'u', { wait = true })", id))
    for call, why in pairs {
      ["bindUid(..., 'u', { exclusiv = true })"] = "there is no option \"exclusiv\"; did you mean \"exclusive\"",
      ["joinGroup(..., 'g', { exclusive = true })"] = "there is no option \"exclusive\"",
      ["joinGroup(..., 'g', { wait = 1 })"] = "option wait must be true or false, got number",
      ["joinGroup(..., 'g', { wait = true, timeout = 0 })"] = "option timeout must be seconds, above 0 and at most a day",
      ["bindUid(..., 'u', true)"] = "a table of options expected, got a boolean",
      ["bindUid(..., 'u', 5)"] = "a table of options expected, got number",
    } do
      local ok, message = pcall(bob.run, bob, "return Gateway." .. call)
      assert.is_false(ok)
      assert.matches(why, message, 1, true)
    end
  end)
end)
