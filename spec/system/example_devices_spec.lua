-- examples/devices for real: simulated devices, and an operator's page.
local bridge = require "bridge"
local example = require "example"
local process = require "process"

describe("examples/devices", function()
  local app
  local devices = {}

  setup(function() app = example.start "devices" end)

  teardown(function()
    for _, device in ipairs(devices) do device:kill "sigkill" end
    bridge.close()
    if app then app:stop() end
  end)

  local function start(name, key)
    local device = process.spawn({ "node", "examples/devices/simulator.js", name, key or "demo-" .. name, tostring(app.port[2]) })
    devices[#devices + 1] = device
    return device
  end

  local function open(key, options)
    local page = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/", options)
    page:call("fill", "#key", key)
    page:call("press", "#key", "Enter")
    return page
  end

  local function sees(page, device, selector)
    page:call("waitForSelector", "[data-device=" .. device .. "]" .. selector)
  end

  it("shows devices as they come, report and go", function()
    local page = open "demo-operator"
    sees(page, "pump-1", ":not(.live)")
    sees(page, "lamp-1", ":not(.live)")
    local pump = start "pump-1"
    sees(page, "pump-1", ".live dd:text-is('3')")
    pump:kill "sigkill"
    sees(page, "pump-1", ":not(.live) .note:has-text('offline since')")
  end)

  it("finds out that a device is silent", function()
    local page = open "demo-operator"
    local lamp = start "lamp-1"
    sees(page, "lamp-1", ".live")
    lamp:kill "sigstop"
    sees(page, "lamp-1", ":not(.live) .note:has-text('timeout')")
    lamp:kill "sigcont"
    sees(page, "lamp-1", ".live") -- it connects again by itself
  end)

  it("carries commands and their answers, for all operators to see", function()
    local ann, bob = open "demo-operator", open "demo-operator"
    local pump = start "pump-2"
    sees(ann, "pump-2", ".live")
    ann:call("fill", "[data-device=pump-2] input", "7")
    ann:call("click", "[data-device=pump-2] button")
    pump:wait_output '"value":7'
    for _, page in ipairs { ann, bob } do
      page:call("waitForSelector", "#commands li:has-text('pump-2: speed = 7'):has-text('done')")
      sees(page, "pump-2", " dd:text-is('7')")
    end
  end)

  it("lets nobody in without a key", function()
    local page = open "guess"
    page:call("waitForSelector", "#problem:text-is('This is not the key.')")
    assert.equal(0, page:call("evaluate", "document.querySelectorAll('[data-device]').length"))
    local thief = start("pump-1", "demo-pump-2")
    assert.equal(1, thief:wait())
    assert.is_truthy(thief.out:find("refused: wrong", 1, true))
  end)

  it("fits a phone without scrolling sideways", function()
    local page = open("demo-operator", { viewport = { width = 360, height = 640 }, isMobile = true, hasTouch = true })
    sees(page, "pump-2", "")
    assert.equal(0, page:call("evaluate", "document.documentElement.scrollWidth - innerWidth"))
  end)
end)
