-- What docs/ lists is what there is, and all of it: keys of the configuration,
-- numbers of the status, fixed limits.
local testbed = require "testbed"
local loop = require "loop"

local function keys(set)
  local list = {}
  for key in pairs(set) do list[#list + 1] = key end
  table.sort(list)
  return list
end

--- The text of docs/<page> from that heading to the next one of its rank.
local function section(page, heading)
  local text = testbed.read_file("docs/" .. page) .. "\n## "
  local _, from = text:find("\n" .. heading .. "\n", 1, true)
  assert(from, heading)
  return text:sub(from + 1, (text:find("\n##+ ", from)))
end

--- The names in the first cells of a text's tables.
local function first_cells(text)
  local names = {}
  for cell in text:gmatch "\n| (`[^|]*) |" do
    for name in cell:gmatch "`([%w_]+)`" do names[name] = true end
  end
  return keys(names)
end

describe("docs/configuration.md has every key, and no other,", function()
  local source = testbed.read_file "src/config/config_fields.c"

  local function fields(name)
    local text = source:match("config_field " .. name .. "_fields%[%] = {(.-)\n};")
    local names = {}
    for key in text:gmatch '%u%(%s*"([%w_]+)"' do names[key] = true end
    for key in text:gmatch '%.key = "([%w_]+)"' do names[key] = true end
    return keys(names)
  end

  for name, heading in pairs {
    top = "## The whole", register = "## register", gateway = "## gateways, each entry", worker = "## workers",
    program = "## programs",
  } do
    it("of " .. heading:sub(4), function()
      assert.same(fields(name), first_cells(section("configuration.md", heading)))
    end)
  end

  it("of tls, api, log, discovery and admin", function()
    for name in pairs { tls = 1, api = 1, log = 1, discovery = 1, admin = 1 } do
      local row = testbed.read_file "docs/configuration.md":match("\n| `" .. name .. "` |[^\n]*")
      for _, key in ipairs(fields(name)) do assert.matches(key .. " = ", row) end
    end
  end)
end)

describe("docs/deployment.md has every field of status --json, and no other,", function()
  local app, status

  setup(function()
    app = testbed.start {
      script = "Events = { onMessage = print } Timer.add(3600, print)", -- as a program, it stays
      config = function(c) c.programs = { { name = "idle", file = "scripts/events.lua" } } end,
    }
    loop.poll("all processes to answer", function()
      status = app:status()
      for _, process in ipairs(status.processes) do
        if not process.counters then return false end
      end
      return true
    end)
  end)

  teardown(function() app:stop() end)

  it("of the system", function()
    assert.same(keys(status), first_cells(section("deployment.md", "### The system")))
  end)

  it("of a process", function()
    assert.same(keys(status.processes[1]), first_cells(section("deployment.md", "### Each process")))
  end)

  -- Each row of that table in src/role/counters.c, as the page shows it; and the names.
  local function counters(table_name)
    local text = testbed.read_file "src/role/counters.c":match("counters_" .. table_name .. "%[%] = {(.-)\n};")
    local rows, names = {}, {}
    local units = { NUMBER = "", BYTES = "bytes", MILLISECONDS = "milliseconds", BOOLEAN = "boolean" }
    for name, kind, unit, help in
      text:gmatch '%u%(%s*"([%w_]+)",%s*(%u+),%s*(%u+),%s*[%w_.]+,%s*(".-")%)' do
      rows[#rows + 1] = ("| `%s` | %s | %s | %s |"):format(name, kind:lower(), units[unit],
        help:gsub('"%s*"', ""):sub(2, -2))
      names[name] = true
    end
    return rows, names
  end

  for table_name, heading in pairs {
    process = "every process", gateway = "a gateway", worker = "a worker", program = "a program",
    register = "a register",
  } do
    it("of the counters of " .. heading .. ", in the words of src/role/counters.c", function()
      local rows = {}
      for row in section("deployment.md", "### Counters of " .. heading):gmatch "| `[^\n]*" do rows[#rows + 1] = row end
      assert.same(counters(table_name), rows)
    end)
  end

  for _, role in ipairs { "gateway", "worker", "program", "register" } do
    it("of the counters that a " .. role .. " answers with", function()
      local _, documented = counters "process"
      for name in pairs(select(2, counters(role))) do documented[name] = true end
      for _, process in ipairs(status.processes) do
        if process.role == role then assert.same(keys(documented), keys(process.counters)) end
      end
    end)
  end
end)

it("docs/scripts.md has the fixed limits of src/lualib, each with its value", function()
  local source, documented = {}, {}
  for line in io.popen("cat src/lualib/*.h"):lines() do
    local name, value = line:match "^#define%s+(L%u+_[%u_]+_MAX)%s+([%d(][%d%s*e()]*)"
    if not name then name, value = line:match "^#define%s+(L%u+_MAX)%s+([%d(][%d%s*e()]*)" end
    if name then source[name] = math.tointeger(load("return " .. value)()) end
  end
  for value, name in section("scripts.md", "## Limits of calls"):gmatch "| (%d+) | `([%u_]+)` |" do
    documented[name] = math.tointeger(value)
  end
  assert.equal(100000, source.LTIMER_MAX)
  assert.same(source, documented)
end)

it("docs/protocol.md has every command of src/wire/frame.h, and no other", function()
  local source, documented = {}, {}
  for name, number in testbed.read_file "src/wire/frame.h":gmatch "X%(([%u_]+), (%d+), %u+%)" do
    source[number .. " " .. name] = true
  end
  local page = testbed.read_file "docs/protocol.md"
  for number, name in page:gmatch "(%d+) ([%u_][%u_][%u_]+)" do
    documented[number .. " " .. name] = true
  end
  for name, number in page:gmatch "`([%u_]+)` %((%d+)" do documented[number .. " " .. name] = true end
  assert.same(keys(source), keys(documented))
end)

it("docs/performance.md knows how many headers the handshake of bench/count has", function()
  local lines = select(2, testbed.read_file "bench/count":match('request = table.concat%(({.-\n})'):gsub('\n  "', ""))
  assert.matches(("a browser comes (%d headers, a cookie)"):format(lines - 1), testbed.read_file "docs/performance.md", 1, true)
end)

it("docs/scripts.md has what performance.md measured of a session", function()
  local count = testbed.read_file "docs/performance.md":match "\n| reads one key | [%d,]+ | ([%d,]+) |"
  assert.matches(" " .. count .. " instructions", testbed.read_file "docs/scripts.md", 1, true)
end)

it("docs/clients.md names tests that there are", function()
  local pipe = io.popen "cat spec/*/*_test.c"
  local source, count = pipe:read "a", 0
  pipe:close()
  for row in section("clients.md", "## The rules"):gmatch "\n| [^\n]*" do
    for name in row:match "| ([^|]*) |$":gmatch "`([%l_%d]+)`" do
      count = count + 1
      assert.is_truthy(source:find("static void " .. name .. "(void **state)", 1, true), name)
    end
  end
  assert.is_true(count > 30)
end)

describe("docs/scripts.md has every cause of onClose, and no other,", function()
  it("with who it is by", function()
    local known, told = { gateway_lost = "lost" }, {}
    local source = testbed.read_file "src/gateway/close_info.c":match "causes%[%] = {(.-)\n    };"
    for cause, by in source:gmatch '%] = {"([%l_]+)", "(%l+)"}' do known[cause] = by end
    for cause, by in section("scripts.md", "## How a client ended"):gmatch "\n| `([%l_]+)` | (%l+) |" do
      told[cause] = by
    end
    assert.same(known, told)
  end)
end)

describe("docs/log.md has every line of levels error, warn and notice, and no other,", function()
  -- Not part of gwrun start, or no line of their own.
  local others = { cmd_dev = true, programs = true, lscript = true, cli = true, world = true }

  -- The literal that a text begins with, without its quotes; nil: it begins with none.
  local function literal(text)
    local parts = {}
    local at = 1
    while true do
      local _, to, part = text:find('^%s*"(.-[^\\])"', at)
      if not to then return parts[1] and table.concat(parts):gsub('\\"', '"') end
      parts[#parts + 1] = part
      at = to + 1
    end
  end

  local function shown(text)
    text = text:gsub("%%[%-+ 0#]*%d*%.?[%d*]*[zl]*%a", "…")
    local cut = text:find(" [a-z_]+=")
    text = (cut and text:sub(1, cut - 1) or text):match "^%s*(.-)%s*$"
    return text:find "%l" and text
  end

  it("with its source", function()
    local source, documented = {}, {}
    for path in io.popen "ls src/*/*.c":lines() do
      local file = path:match "([^/]+)%.c$"
      local code = others[file] and "" or testbed.read_file(path)
      for _, pattern in ipairs { "log_error%(()", "log_warn%(()", "log_notice%(()", "log_write%([^,]+, __FILE__,()" } do
        for at in code:gmatch("%f[%w_]" .. pattern) do
          local text = literal(code:sub(at))
          text = text and shown(text)
          if text then source[file .. ": " .. text] = true end
        end
      end
    end
    for row in testbed.read_file("docs/log.md"):match "\n## Every line\n(.*)":gmatch "\n| (`[^\n]*)" do
      local file, text, words = row:match "^`([%w_]+)` | [%l/]+ | `(.-)` | (.+) |$"
      assert.is_truthy(file, row)
      assert.is_true(#words > 4, row)
      documented[file .. ": " .. text] = true
    end
    assert.is_true(#keys(source) > 100)
    assert.same(keys(source), keys(documented))
  end)
end)
