-- examples/dashboard for real: its samples, and its page.
local bridge = require "bridge"
local cjson = require "cjson"
local example = require "example"

describe("examples/dashboard", function()
  local app

  setup(function() app = example.start "dashboard" end)

  teardown(function()
    bridge.close()
    if app then app:stop() end
  end)

  it("samples once a second, whatever the number of workers, and counts all messages", function()
    local client = bridge.connect(app:url())
    local times, messages, seen = 0, 0, {}
    local point
    repeat point = client:receive_type("point").point until point.clients == 1 -- counted before it came
    for _ = 1, 100 do client:send "x" end
    repeat
      point = client:receive_type("point").point
      assert.is_nil(seen[point.time]) -- a worker that was held up may send later than the next one
      seen[point.time], times = true, times + 1
      messages = messages + point.messages
      assert.is_true(point.memory > 10 and point.load >= 0)
      assert.equal(1, point.clients)
    until times >= 3 and messages >= 100
    assert.equal(100, messages)
    client:close()
  end)

  it("gives who comes late what was before", function()
    local early = bridge.connect(app:url())
    local point = early:receive_type("point").point
    local late = bridge.connect(app:url())
    local history = cjson.decode(late:receive "history")
    assert.equal("history", history.type)
    local found = false
    for _, p in ipairs(history.points) do found = found or p.time == point.time end
    assert.is_true(found and #history.points >= 2)
    early:close()
    late:close()
  end)

  it("is drawn, also on a phone", function()
    for _, options in ipairs { {}, { viewport = { width = 360, height = 640 }, isMobile = true } } do
      local page = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/", options)
      page:call("waitForFunction", "document.querySelector('[data-name=memory] output').textContent.match(/^[\\d,]+MiB$/)")
      page:call("waitForFunction", [[(() => {
        const canvas = document.querySelector("[data-name=memory] canvas");
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return points.length >= 2 && pixels.filter((v, i) => i % 4 === 3 && v > 0).length > 1000;
      })()]])
      assert.equal(0, page:call("evaluate", "document.documentElement.scrollWidth - innerWidth"))
    end
    local page = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/")
    page:call("waitForSelector", "#state[data-state=open]")
    page:call("click", "#burst")
    page:call("waitForFunction", "points.some(p => p.messages >= 50)")
  end)
end)
