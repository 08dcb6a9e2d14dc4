-- examples/chat with a real database: what goes over the wire, and its page.
local bridge = require "bridge"
local example = require "example"
local mariadb = require "mariadb"
local process = require "process"

describe("examples/chat", function()
  local db, app

  setup(function()
    db = mariadb.start()
    local code, out = process.run {
      "sh", "-c", 'exec mariadb --no-defaults --socket="$0" <examples/chat/schema.sql', db.socket,
    }
    assert(code == 0, out)
    app = example.start("chat", { CHAT_DB_SOCKET = db.socket, CHAT_DB_PASSWORD = "secret" })
  end)

  teardown(function()
    bridge.close()
    if app then app:stop() end
    if db then db:stop() end
  end)

  local function page(options) return bridge.page("http://127.0.0.1:" .. app.port[1] .. "/", options) end

  local function sign_in(p, name, password, button)
    p:call("waitForSelector", "#login:not([hidden])")
    p:call("fill", "#login-name", name)
    p:call("fill", "#password", password)
    p:call("click", "#login button[value=" .. button .. "]")
  end

  local function open(name, button, options)
    local p = page(options)
    sign_in(p, name, "correct horse", button or "register")
    p:call("waitForSelector", "#app:not([hidden])")
    return p
  end

  local function say(p, text)
    p:call("waitForSelector", "#send:enabled")
    p:call("fill", "#text", text)
    p:call("press", "#text", "Enter")
  end

  local function sees(p, text, where)
    p:call("waitForSelector", (where or ".text") .. ':text-is("' .. text .. '")')
  end

  local function go(p, place)
    p:call("fill", "#room-name", place)
    p:call("press", "#room-name", "Enter")
  end

  -- A new message moves the view of who is at the end, and of who wrote it.
  local function leaves_who_reads_further_up(reader, writer)
    local view = "document.getElementById('messages').parentElement"
    local function scrolled() return reader:call("evaluate", view .. ".scrollTop") end
    local function hidden() -- pixels below what is shown
      return reader:call("evaluate", ("%s.scrollHeight - %s.clientHeight - %s.scrollTop"):format(view, view, view))
    end
    reader:call("setViewportSize", { width = 800, height = 400 })
    for i = 1, 12 do
      say(writer, "line " .. i)
      sees(writer, "line " .. i)
    end
    sees(reader, "line 12")
    assert.is_true(scrolled() > 0)
    assert.is_true(hidden() < 40)
    reader:call("evaluate", view .. ".scrollTop = 10")
    say(writer, "one more")
    sees(reader, "one more")
    assert.equal(10, scrolled())
    say(reader, "and mine")
    sees(reader, "and mine")
    assert.is_true(hidden() < 40)
  end

  it("lets people talk, and shows what was said before to who comes later", function()
    local ann = open "Ann"
    say(ann, "<b>hello</b> & 你好")
    sees(ann, "<b>hello</b> & 你好")
    local bob = open "Bob"
    sees(bob, "<b>hello</b> & 你好") -- history
    sees(ann, "Ann, Bob", "#names")
    say(bob, "hello Ann")
    sees(ann, "hello Ann")
    sees(ann, "Bob", ".who span")
    leaves_who_reads_further_up(ann, bob)
  end)

  it("carries private messages, also to who was away", function()
    local ann, cat = open("Ann", "login"), open "Cat"
    go(cat, "@ann")
    say(cat, "just for you")
    sees(ann, "@Cat", "#places span")
    ann:call("click", "#places li:last-child button")
    sees(ann, "just for you")
    ann:call("click", "#logout")
    ann:call("waitForSelector", "#login:not([hidden])")
    say(cat, "are you there?")
    sees(cat, "are you there?")
    sign_in(ann, "Ann", "correct horse", "login")
    ann:call("click", '#places button:has-text("@Cat")')
    sees(ann, "are you there?")
    go(cat, "garden")
    say(cat, "anybody here?")
    sees(cat, "anybody here?")
    cat:call "reload" -- keeps the rooms, and the talk of who began it
    sees(cat, "anybody here?")
    cat:call("click", '#places button:has-text("@Ann")')
    sees(cat, "just for you")
    go(cat, "@nobody")
    sees(cat, "There is nobody of that name.", "#state-text")
  end)

  it("knows names and passwords", function()
    local p = page()
    sign_in(p, "ANN", "correct horse", "register")
    sees(p, "This name is taken.", "#problem")
    sign_in(p, "Ann", "wrong horse", "login")
    sees(p, "Name or password is wrong.", "#problem")
    sign_in(p, "Ann", "correct horse", "login")
    p:call("waitForSelector", "#app:not([hidden])")
  end)

  it("comes back by itself with its token, after a reload of the page and a restart of the server", function()
    local ann = open("Ann", "login")
    ann:call "reload"
    ann:call("waitForSelector", "#app:not([hidden])")
    app.master:kill "sigint"
    assert.equal(0, app.master:wait())
    ann:call("waitForSelector", "#state:not([data-state=open])")
    app:up()
    ann:call("waitForSelector", "#state[data-state=open]")
    sees(ann, "hello Ann")
    say(ann, "I am back")
    sees(ann, "I am back")
  end)

  it("fits a phone without scrolling sideways", function()
    local phone = { viewport = { width = 360, height = 640 }, isMobile = true, hasTouch = true }
    local p = page(phone)
    p:call("waitForSelector", "#login:not([hidden])")
    local function overflow() return p:call("evaluate", "document.documentElement.scrollWidth - innerWidth") end
    assert.equal(0, overflow())
    sign_in(p, "Dan", "correct horse", "register")
    p:call("waitForSelector", "#app:not([hidden])")
    assert.equal(0, overflow())
  end)
end)
