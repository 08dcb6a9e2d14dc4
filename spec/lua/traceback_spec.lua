-- What people see of a script's error.
local traceback = assert(loadfile "lua/gwrun/traceback.lua")()

describe("lua/gwrun/traceback.lua", function()
  local files, style

  before_each(function()
    style = { lua_dir = "/usr/share/gwrun/lua", script = "scripts/events.lua", color = false }
    files = {
      ["scripts/events.lua"] = [[
Events = {}
local function greet(id)
	return uidd .. id -- uidd?
end
function Events.onMessage(id)
	greeet(id)
end
]],
    }
  end)

  local function shows(text, want)
    local function read(path) return files[path] end
    local function plain(part) return (part:gsub("[^\t%C]", "?")) end
    assert.equal(want, traceback.show(text, style, read, plain))
  end

  local last_lines = "    5 | function Events.onMessage(id)\n    6 | \tgreeet(id)\n  > 7 | end"

  it("shows the lines around and the word that is wrong", function()
    local message = "scripts/events.lua:6: attempt to call a nil value (global 'greeet')"
    shows(message, message .. "\n" .. [[
    4 | end
    5 | function Events.onMessage(id)
  > 6 | 	greeet(id)
      | 	^^^^^^
    7 | end]])
  end)

  it("points at no word that is there twice", function()
    local message = "scripts/events.lua:3: attempt to concatenate a nil value (global 'uidd')"
    shows(message, message .. "\n" .. [[
    1 | Events = {}
    2 | local function greet(id)
  > 3 | 	return uidd .. id -- uidd?
    4 | end
    5 | function Events.onMessage(id)]])
  end)

  it("points at no part of a word, and behind no wide characters", function()
    files["a.lua"] = "local ids = id\n-- 你 id\nid.ids.id_ = #ids\n"
    shows("a.lua:1: 'id'", "a.lua:1: 'id'\n  > 1 | local ids = id\n      |             ^^\n" ..
      "    2 | -- 你 id\n    3 | id.ids.id_ = #ids")
    shows("a.lua:2: 'id'", "a.lua:2: 'id'\n    1 | local ids = id\n  > 2 | -- 你 id\n    3 | id.ids.id_ = #ids")
    shows("a.lua:3: '#'", "a.lua:3: '#'\n    1 | local ids = id\n    2 | -- 你 id\n" ..
      "  > 3 | id.ids.id_ = #ids\n      |              ^")
  end)

  it("keeps the callers that are the script's", function()
    shows([[
scripts/events.lua:3: no
stack traceback:
	[C]: in function 'error'
	scripts/events.lua:3: in local 'greet'
	/usr/share/gwrun/lua/gwrun/async.lua:40: in function 'f'
	scripts/events.lua:6: in function <scripts/events.lua:5>
	(...tail calls...)
	[C]: in ?]], [[
scripts/events.lua:3: no
    1 | Events = {}
    2 | local function greet(id)
  > 3 | 	return uidd .. id -- uidd?
    4 | end
    5 | function Events.onMessage(id)
called from
	scripts/events.lua:6: in function <scripts/events.lua:5>]])
  end)

  it("says no more when nobody else called", function()
    shows([[
scripts/events.lua:7: x
stack traceback:
	scripts/events.lua:7: in function <scripts/events.lua:5>]],
      "scripts/events.lua:7: x\n" .. last_lines)
  end)

  it("keeps every traceback of an error that quotes another", function()
    shows([[
outer.lua:1: no
stack traceback:
	outer.lua:2: in ?
because of
inner.lua:3: no
stack traceback:
	inner.lua:4: in ?
	[string "text"]:1: in ?]], [[
outer.lua:1: no
called from
	outer.lua:2: in ?
because of
inner.lua:3: no
called from
	inner.lua:4: in ?
	[string "text"]:1: in ?]])
  end)

  it("finds the script when the message names nothing of it", function()
    shows([[
/usr/share/gwrun/lua/gwrun/mysql.lua:9: bad table
stack traceback:
	/usr/share/gwrun/lua/gwrun/mysql.lua:9: in function 'where'
	scripts/events.lua:6: in function <scripts/events.lua:5>]], [[
/usr/share/gwrun/lua/gwrun/mysql.lua:9: bad table
    4 | end
    5 | function Events.onMessage(id)
  > 6 | 	greeet(id)
    7 | end]])
  end)

  it("shows where a block began that does not end", function()
    local message = "scripts/events.lua:7: 'end' expected (to close 'function' at line 2) near <eof>"
    shows(message, message .. "\n    2 | local function greet(id)\n    ...\n" .. last_lines)
  end)

  it("shows the module and not its require", function()
    shows("error loading module 'events' from file 'scripts/events.lua':\n" ..
      "\tscripts/events.lua:1: '=' expected near '{'", [[
error loading module 'events' from file 'scripts/events.lua':
	scripts/events.lua:1: '=' expected near '{'
  > 1 | Events = {}
      |          ^
    2 | local function greet(id)
    3 | 	return uidd .. id -- uidd?]])
  end)

  it("finds files whose names Lua has cut, and leaves gwrun's own out", function()
    files["/usr/share/gwrun/lua/gwrun/async.lua"] = "return 1\n"
    shows([[
no
stack traceback:
	...re/gwrun/lua/gwrun/async.lua:1: in ?
	...elsewhere/gwrun/async.lua:2: in ?]], [[
no
called from
	...elsewhere/gwrun/async.lua:2: in ?]])
    shows("...ts/events.lua:1: x", [[
...ts/events.lua:1: x
  > 1 | Events = {}
    2 | local function greet(id)
    3 | 	return uidd .. id -- uidd?]])
  end)

  it("looks behind the name of who failed", function()
    shows("worker/0: scripts/events.lua:7: x", "worker/0: scripts/events.lua:7: x\n" .. last_lines)
  end)

  it("cuts long lines, but no character", function()
    files["long.lua"] = ("x"):rep(159) .. "é" .. ("y"):rep(500)
    shows("long.lua:1: no", "long.lua:1: no\n  > 1 | " .. ("x"):rep(159))
    files["long.lua"] = ("\x80"):rep(500)
    shows("long.lua:1: no", "long.lua:1: no\n  > 1 | ")
  end)

  it("survives what is no error of Lua", function()
    shows("", "")
    shows("\n", "")
    shows("plain", "plain")
    shows("one\n\nthree\n", "one\n\nthree")
    shows("nowhere.lua:5: x", "nowhere.lua:5: x")
    shows("scripts/events.lua:99999999999999: x", "scripts/events.lua:99999999999999: x")
    shows("stack traceback:\n\t[C]: in ?", "")
    shows("[string \"x:1: y\"]:1: z", "[string \"x:1: y\"]:1: z")
  end)

  it("lets neither the error nor the source command the terminal", function()
    files["x.lua"] = "\27[2J"
    shows("\27[2Jx.lua:1: \7", "?[2Jx.lua:1: ?")
    shows("x.lua:1: \7", "x.lua:1: ?\n  > 1 | ?[2J")
  end)

  it("paints when told to", function()
    style.color = true
    shows("scripts/events.lua:6: 'greeet'",
      "\27[1mscripts/events.lua:6:\27[m\27[1;31m 'greeet'\27[m\n" ..
      "\27[2m    4 | \27[mend\n" ..
      "\27[2m    5 | \27[mfunction Events.onMessage(id)\n" ..
      "\27[1;31m  > 6 | \27[m\27[1m\tgreeet(id)\27[m\n" ..
      "\27[2m      | \27[m\t\27[1;31m^^^^^^\27[m\n" ..
      "\27[2m    7 | \27[mend")
  end)
end)
