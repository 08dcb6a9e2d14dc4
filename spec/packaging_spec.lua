-- What `make install` puts in place, and the pages and completions that are made
-- from what gwrun says of itself.
local uv = require "luv"
local process = require "process"
local running = require "running"
local testbed = require "testbed"

local build = testbed.program:match "^(.*)/gwrun$"

local function run(...)
  local code, out = process.run({ ... }, { seconds = 120 })
  assert.equal(0, code, out)
  return out
end

local function lines_of(text)
  local list = {}
  for line in text:gmatch "[^\n]+" do list[#list + 1] = line end
  return list
end

describe("packaging", function()
  local dir, root

  local function make(target) return run("make", "-s", "-o", "build", "O=" .. build, "DESTDIR=" .. dir, target) end

  local function read(path) return assert(testbed.read_file(root .. path), path) end

  setup(function()
    dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-packaging-XXXXXX"))
    root = dir .. "/usr/local"
    make "install"
  end)

  teardown(function() run("rm", "-rf", dir) end)

  -- Names of commands, and of each its options.
  local function commands()
    local list = {}
    for name in run(testbed.program, "--help"):gmatch "\n  (%l+) " do
      list[name] = {}
      local text = run(testbed.program, name, "--help")
      for line in text:gmatch "\n  (%-[^\n]*)" do
        for option in (line .. "  "):match "^(.-)%s%s":gmatch "%-%-?[%w-]+" do table.insert(list[name], option) end
      end
      for option in text:match "^[^\n]*":gmatch "%-%-?%l+" do table.insert(list[name], option) end
    end
    assert.is_table(list.status)
    assert.is_true(#list.status > 2)
    return list
  end

  it("names every command and option in gwrun(1) and in the completions", function()
    local page = read "/share/man/man1/gwrun.1":gsub("\\%-", "-")
    local zsh = read "/share/zsh/vendor-completions/_gwrun"
    local fish = read "/share/fish/vendor_completions.d/gwrun.fish"
    for name, options in pairs(commands()) do
      assert.matches("\n.SS \\fBgwrun " .. name, page, 1, true)
      local of_zsh = zsh:match("\n    " .. name .. "%)\n(.-) ;;")
      assert.matches("'" .. name .. ":", zsh, 1, true)
      assert.matches("__fish_use_subcommand -a " .. name .. " ", fish, 1, true)
      for _, option in ipairs(options) do
        assert.matches(option, page:match("\n.SS \\fBgwrun " .. name .. "(.-)\n.S"), 1, true)
        assert.matches("'" .. option .. "[%[=]", of_zsh)
        local letter, long = option:match "^%-(%l)$", option:match "^%-%-(.*)"
        assert.matches("from " .. name .. "' [^\n]*" .. (letter and "%-s " .. letter or "%-l " .. long) .. " ", fish)
      end
    end
  end)

  it("completes commands, options and their values in bash", function()
    local file = root .. "/share/bash-completion/completions/gwrun"
    local function complete(...)
      local words = { "gwrun", ... }
      for i, word in ipairs(words) do words[i] = "'" .. word .. "'" end
      return run("bash", "-c", ('. "$0"; COMP_WORDS=(%s); COMP_CWORD=%d; _gwrun; printf "%%s\\n" "${COMPREPLY[@]}"')
        :format(table.concat(words, " "), #words - 1), file)
    end
    local list = commands()
    local found = lines_of(complete "re")
    table.sort(found)
    assert.same({ "reload", "restart" }, found)
    for name, options in pairs(list) do
      assert.equal(name, complete(name):match("%f[%w]" .. name .. "%f[%W]"))
      local offered = complete(name, "-")
      for _, option in ipairs(options) do assert.matches(option .. "\n", offered, 1, true) end
    end
    assert.equal("\n", complete("-c", ""))
    assert.matches("%-%-live\n", complete("-c", "x.lua", "status", "--l"))
    assert.equal("push\n", complete("new", "-t", "pu"))
    assert.equal("chat\npush\ndevice\ngame\n", complete("new", "--template", ""))
  end)

  it("names every key of the configuration in gwrun.lua(5)", function()
    local page = read "/share/man/man5/gwrun.lua.5":gsub("\\%-", "-"):gsub("\\f[BR]", "")
    local count = 0
    for key in testbed.read_file "src/config/config_fields.c":gmatch '%u%(%s*"([%w_]+)"' do
      count = count + 1
      assert.matches("%f[%w_]" .. key .. "%f[^%w_]", page)
    end
    assert.is_true(count > 80)
    assert.is_nil(page:find("`", 1, true), page:match "[^\n]*`[^\n]*")
  end)

  it("leaves nothing of what it installed when it is uninstalled", function()
    local found = run("find", dir, "-type", "f")
    for _, path in ipairs { "/bin/gwrun", "/share/gwrun/lua/prelude.lua", "/share/gwrun/lua/new/.busted",
      "/share/gwrun/www/gwclient.d.ts", "/lib/systemd/system/gwrun@.service", "/etc/logrotate.d/gwrun",
      "/share/doc/gwrun/docs/api.md", "/share/doc/gwrun/examples/chat/www/gwclient.js",
      "/share/doc/gwrun/CHANGELOG.md" } do
      assert.matches(root .. path .. "\n", found, 1, true)
    end
    assert.matches("\nExecStart=/usr/local/bin/gwrun start -q\n", read "/lib/systemd/system/gwrun@.service", 1, true)
    make "uninstall"
    assert.equal("", run("find", dir, "-type", "f"))
    assert.is_nil(uv.fs_stat(root .. "/share/gwrun"))
    assert.is_nil(uv.fs_stat(root .. "/share/doc/gwrun"))
    make "install"
    assert.equal(found, run("find", dir, "-type", "f"))
  end)
end)

it("www/gwclient.d.ts has what a page calls of gwclient.js, and no other", function()
  local declared = testbed.read_file "www/gwclient.d.ts"
  local source = testbed.read_file "www/gwclient.js"
  for name, default in source:match "this.options = {(.-), %.%.%.":gmatch "(%w+): (%d+)" do
    assert.matches("; " .. default .. ". %*/\n  " .. name .. "%?: number;", declared)
  end
  for name in declared:match "class GwClient {(.*)":gmatch "\n  (%l%w+)%(" do
    assert.matches("\n  " .. name .. "(", source, 1, true)
  end
  local said = {}
  for event in source:gmatch 'emit%("(%l+)"' do said[event] = true end
  for event in pairs(said) do assert.matches('on(event: "' .. event .. '"', declared, 1, true) end
  for state in source:gmatch 'emit%("state", "(%l+)"' do assert.matches('"' .. state .. '"', declared, 1, true) end
end)

it("make dist and make deb refuse a commit with the tag of another version", function()
  local dir = assert(uv.fs_mkdtemp(uv.os_tmpdir() .. "/gwrun-tagged-XXXXXX"))
  finally(function() process.run { "rm", "-rf", dir } end)
  local function sh(text) return process.run { "sh", "-ec", "cd \"$0\"; " .. text, dir } end
  local git = "git -c user.name=x -c user.email=x@example.com "
  assert.equal(0, (process.run { "cp", "-r", "packaging", dir }))
  assert.equal(0, (sh "packaging/tagged 0.2.0")) -- no git
  assert.equal(0, (sh("git init -q && " .. git .. "commit -q --allow-empty -m x && packaging/tagged 0.2.0")))
  assert.equal(0, (sh "git tag v0.2.0 && packaging/tagged 0.2.0"))
  local code, out = sh "packaging/tagged 0.3.0"
  assert.same({ 1, "this commit has the tag v0.2.0 and the Makefile says 0.3.0\n" }, { code, out })
  local makefile = testbed.read_file "Makefile"
  for _, target in ipairs { "dist", "deb" } do
    assert.matches("\n" .. target .. ":[^\n]*\n\t@packaging/tagged %$%(VERSION%)\n", makefile)
  end
end)

it("examples/chat/compose.yaml keeps to the schema of compose files, and its files are there", function()
  if process.run { "sh", "-c", "command -v docker-compose" } ~= 0 then running.skip "docker-compose is missing" end
  local text = run("docker-compose", "--file", "examples/chat/compose.yaml", "config") -- it needs no docker
  local count = 0
  for path in text:gmatch "%- (/[^:\n]+):/docker%-entrypoint%-initdb.d" do
    assert.is_truthy(uv.fs_stat(path), path)
    count = count + 1
  end
  assert.equal(2, count)
end)

it("the version is one in all places", function()
  local version = testbed.read_file "Makefile":match "\nVERSION := (%S+)"
  assert.matches("gwrun " .. version .. " ", run(testbed.program, "version"), 1, true)
  assert.equal(version, testbed.read_file "debian/changelog":match "^gwrun %(([%d.]+)%)")
  assert.equal(version, testbed.read_file "CHANGELOG.md":match "\n## %[([%d.]+)%] %- %d%d%d%d%-%d%d%-%d%d\n")
  assert.matches("Version " .. version .. ".", testbed.read_file "README.md", 1, true)
  assert.matches("版本 " .. version, testbed.read_file "README.zh-CN.md", 1, true)
end)
