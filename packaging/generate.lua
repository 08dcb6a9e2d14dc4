-- gwrun exec packaging/generate.lua GWRUN DOCS OUT: write the man pages and the
-- completions of shells into the folder OUT. They are made from what the program
-- GWRUN says of itself (--help) and from DOCS/configuration.md, so that nothing is
-- told twice. `make build/packaging` runs it.
local program, docs, out = table.unpack(arg, 1, 3)
assert(out, "usage: gwrun exec packaging/generate.lua GWRUN DOCS OUT")
package.path = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/?.lua;" .. package.path

local completions = require "completions"
local help = require "help"
local man = require "man"

local function write(name, text)
  local file = assert(io.open(out .. "/" .. name, "w"))
  assert(file:write(text))
  assert(file:close())
end

local file = assert(io.open(docs .. "/configuration.md"))
local configuration = file:read "a"
file:close()

local version, commands = help.read(program)
write("gwrun.1", man.commands(version, commands))
write("gwrun.lua.5", man.configuration(version, configuration))
write("gwrun.bash", completions.bash(commands))
write("_gwrun", completions.zsh(commands))
write("gwrun.fish", completions.fish(commands))
