-- The chat page in a real browser.
local bridge = require "bridge"
local tcp = require "tcp"
local testbed = require "testbed"

describe("the chat page", function()
  local app

  setup(function()
    app = testbed.new { gateways = { { listen = "websocket", www = "www", count = 2 }, { listen = "text" } } }
    app:write_page()
    app:up()
  end)

  teardown(function()
    bridge.close()
    app:stop()
  end)

  local function open(name)
    local page = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/")
    page:call("waitForSelector", "#state[data-state=open]")
    page:call("fill", "#name", name)
    page:call("press", "#name", "Enter")
    return page
  end

  local function say(page, text)
    page:call("fill", "#text", text)
    page:call("press", "#text", "Enter")
  end

  local function sees(page, text) page:call("waitForSelector", ".text:text-is(\"" .. text .. "\")") end

  it("chats between two tabs and telnet", function()
    local ann, bob = open "Ann", open "Bob"
    say(ann, "hello <b>Bob</b>")
    sees(bob, "hello <b>Bob</b>")
    say(bob, "你好 Ann")
    sees(ann, "你好 Ann")
    ann:call("waitForSelector", ".who:has-text(\"Bob\")")
    local telnet = tcp.connect(app.port[2])
    telnet:receive "hello"
    telnet:send "from telnet\r\n"
    sees(ann, "from telnet")
    say(ann, "to telnet")
    telnet:receive "to telnet"
    telnet:close()
  end)

  it("keeps rooms apart and the history of the visit over a reload", function()
    local ann, bob = open "Ann", open "Bob"
    for _, page in ipairs { ann, bob } do
      page:call("fill", "#room-name", "lua")
      page:call("press", "#room-name", "Enter")
      ann:call("waitForSelector", ".notice:has-text(\"" .. (page == ann and "Ann" or "Bob") .. " joined\")")
    end
    say(ann, "room talk")
    sees(bob, "room talk")
    bob:call "reload"
    bob:call("waitForSelector", "#state[data-state=open]")
    sees(bob, "room talk")
    bob:call("click", "#rooms li:first-child button")
    assert.equal(0, bob:call("evaluate",
      "[...document.querySelectorAll('.text')].filter(e => e.textContent === 'room talk').length"))
  end)

  it("leaves who reads further up where they are", function()
    local ann, bob = open "Ann", open "Bob"
    for i = 1, 40 do say(ann, "line " .. i) end
    sees(bob, "line 40")
    bob:call("evaluate", "document.querySelector('main').scrollTop = 10")
    say(ann, "one more")
    sees(bob, "one more")
    assert.equal(10, bob:call("evaluate", "document.querySelector('main').scrollTop"))
  end)

  it("goes on when the browser keeps no more", function()
    local ann = open "Ann"
    ann:call("evaluate", [[(() => {
      for (let size = 1 << 22; size > 0; size >>= 1)
        try { for (let i = 0; ; i++) sessionStorage.setItem(size + "." + i, "x".repeat(size)); } catch {}
    })()]])
    say(ann, "one more")
    sees(ann, "one more")
  end)

  it("reconnects by itself when the server was restarted, and is in its room again", function()
    local ann = open "Ann"
    app.master:kill "sigint"
    assert.equal(0, app.master:wait())
    ann:call("waitForSelector", "#state:not([data-state=open])")
    app:up()
    ann:call("waitForSelector", "#state[data-state=open]", {})
    say(ann, "I am back")
    sees(ann, "I am back")
  end)

  it("speaks both languages", function()
    local page = open "Ann"
    page:call("click", "#language")
    page:call("waitForSelector", "#send:text-is(\"发送\")")
    assert.equal("zh-CN", page:call("evaluate", "document.documentElement.lang"))
  end)

  it("fits a phone without scrolling sideways", function()
    local page = bridge.page("http://127.0.0.1:" .. app.port[1] .. "/",
      { viewport = { width = 360, height = 640 }, isMobile = true, hasTouch = true })
    assert.equal(0, page:call("evaluate", "document.documentElement.scrollWidth - innerWidth"))
  end)
end)
