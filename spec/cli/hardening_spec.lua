-- How the program is linked: what makes its mistakes harder to use.
local process = require "process"
local testbed = require "testbed"
local uv = require "luv"

local function readelf(what)
  local code, out = process.run { "readelf", "-W", what, testbed.program }
  assert(code == 0, out)
  return out
end

-- What is installed, with the preparations that docs/deployment.md shows.
describe("the systemd unit", function()
  local dir, unit, text

  setup(function()
    dir = testbed.new {}
    unit = dir.dir .. "/gwrun@chat.service"
    text = testbed.read_file("packaging/gwrun@.service.in"):gsub("@BINDIR@/gwrun", "/bin/true")
    testbed.write_file(unit, text)
  end)

  teardown(function() dir:remove() end)

  it("is one that systemd understands, to the last line", function()
    local code, out = process.run { "systemd-analyze", "verify", "--man=no", unit }
    assert.equal(0, code, out)
    assert.equal("", out)
  end)

  it("starts as its user, with the folders and the key that the page gives him", function()
    if uv.getuid() ~= 0 then return pending "needs root" end
    local page = testbed.read_file("docs/deployment.md"):match "\n## As a service\n(.-)\n## "
    local app = testbed.new { gateways = { { listen = "text" } }, config = function(c) c.secret_key_file = "conf/secret" end }
    testbed.write_file(app.dir .. "/conf/secret", ("s"):rep(32) .. "\n")
    assert(uv.fs_chmod(app.dir .. "/conf/secret", 384)) -- as gwrun new leaves it
    local lines = page:match "\n(cd /srv/gwrun/chat\n.-)systemctl"
    lines = lines:gsub("/srv/gwrun/chat", '"$1"'):gsub("%-o gwrun %-g gwrun", "-o nobody -g nogroup")
      :gsub("chown gwrun", "chown nobody")
    assert.equal(0, (process.run { "sh", "-ec", [[
      mkdir "$1/build" && cp "$2" "$1/build" && cp -r lua "$1" && chmod a+x "$1" "$1/conf"
      chmod -R a+rX "$1/lua" "$1/build" "$1/scripts" "$1"/conf/*.lua
    ]] .. lines, "sh", app.dir, testbed.program }))
    app.program = app.dir .. "/build/gwrun"
    local caps = text:match "\nCapabilityBoundingSet=CAP_(%u+[%u_]*)\n":lower()
    app.prefix = { "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups", "--no-new-privs",
      "--bounding-set=-all,+" .. caps, "--inh-caps=-all,+" .. caps, "--ambient-caps=-all,+" .. caps }
    app:up()
    assert.same({ 0, 0 }, { (app:cli "reload"), (app:cli "status") })
    assert.equal(0, (app:cli "stop"))
    app.prefix = {}
    app:remove()
  end)

  it("leaves little that a broken process could do", function()
    local _, out = process.run { "systemd-analyze", "security", "--offline=true", "--no-pager", unit }
    local exposure = tonumber(out:match "exposure level for gwrun@chat.service: ([%d.]+)")
    assert.is_true(exposure <= 2.0, out)
    local page = testbed.read_file "docs/deployment.md"
    assert.matches(("systemd-analyze security gwrun@chat` says %.1f, of 10"):format(exposure), page, 1, true)
  end)
end)

describe("the program", function()
  it("lies at another address each time, and its tables cannot be written", function()
    local out = readelf "-hld"
    assert.matches("Type:%s+DYN", out)
    assert.matches("GNU_RELRO", out, 1, true)
    assert.matches("BIND_NOW", out, 1, true)
    assert.matches("GNU_STACK[^\n]+ RW  0x", out)
  end)

  it("looks after its stack and the sizes of its buffers", function()
    local out = readelf "--dyn-syms"
    assert.matches("__stack_chk_fail", out, 1, true)
    if not testbed.sanitized then assert.matches("__snprintf_chk", out, 1, true) end
  end)
end)
