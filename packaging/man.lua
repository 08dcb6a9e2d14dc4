-- Man pages: gwrun(1) from the texts of --help, gwrun.lua(5) from the Markdown of
-- docs/configuration.md. Of Markdown as much is understood as that page uses:
-- headings, paragraphs, lists, tables, fenced code, `code`, **bold**, [links](…).
local M = {}

local WEB = "/usr/share/doc/gwrun/docs/"

--- Text as roff has it: no escape and no request by accident.
local function plain(text)
  return (text:gsub("\\", "\\e"):gsub("^([.'])", "\\&%1"):gsub("\n([.'])", "\n\\&%1"))
end

local function code(text) return "\\fB" .. plain(text):gsub("%-", "\\-") .. "\\fR" end

--- A piece of Markdown within a line.
local function inline(text)
  local done = {}
  local function keep(piece)
    done[#done + 1] = piece
    return "\1" .. #done .. "\2"
  end
  text = text:gsub("`([^`]+)`", function(piece) return keep(code(piece)) end)
    :gsub("%[([^%]]*)%]%(([^)]*)%)", function(label, target)
      local page = target:match "^([%w-]+%.md)" or target:match "^%.%./(.+%.md)"
      return page and label ~= page and label .. " (" .. page .. ")" or label
    end)
    :gsub("<(https?://[^>]+)>", "%1")
    :gsub("%*%*(.-)%*%*", function(piece) return keep("\\fB" .. plain(piece) .. "\\fR") end)
  text = plain(text)
  -- A bold piece may hold one of code.
  for _ = 1, 2 do text = text:gsub("\1(%d+)\2", function(i) return done[tonumber(i)] end) end
  return (text:gsub("^([.'])", "\\&%1"))
end

local function head(name, section, version, what)
  return ('.TH %s %d "" "gwrun %s" "%s"\n.nh\n.ad l\n'):format(name, section, version, what)
end

-- ---- gwrun(1) ----

--- A text of --help without its usage and options, in paragraphs; what is indented
--- stays as it is.
local function prose(text)
  local out, open = {}, false
  local listing
  for line in (text:gsub("^usage:[^\n]*\n+", "") .. "\n"):gmatch "([^\n]*)\n" do
    if line:match "^  %-" then
      listing = "option"
    elseif line:match "^  " and not (listing == "option" and line:match "^      ") then
      if listing ~= "code" then out[#out + 1] = ".PP\n.nf\n.RS" end
      listing, open = "code", false
      out[#out + 1] = plain(line:sub(3)):gsub("%-", "\\-")
    elseif not line:match "^  " then
      if listing == "code" then out[#out + 1] = ".RE\n.fi" end
      listing = nil
      if line == "" then
        open = false
      else
        if not open then out[#out + 1] = ".PP" end
        open = true
        out[#out + 1] = plain(line)
      end
    end
  end
  return table.concat(out, "\n") .. "\n"
end

local FOOT = [[
.SH EXIT STATUS
0: done. 1: it failed, or, of \fBgwrun status\fR, clients cannot be served.
2: wrong usage or a wrong configuration.
.SH FILES
.TP
.I conf/gwrun.lua
the configuration, see \fBgwrun.lua\fR(5)
.TP
.I /usr/share/doc/gwrun
the documentation, and examples
.SH SEE ALSO
\fBgwrun.lua\fR(5)
]]

function M.commands(version, commands)
  local out = { head("GWRUN", 1, version, "User Commands"), [[
.SH NAME
gwrun \- long-lived connections with their logic in Lua
.SH SYNOPSIS
.B gwrun
[\fB\-c\fR \fIFILE\fR] \fICOMMAND\fR [\fIoptions\fR]
.SH DESCRIPTION
gwrun keeps very many long-lived connections open (WebSocket, text lines,
length-prefixed frames, raw TCP; each with or without TLS) and runs what happens on
them in a Lua script that can be edited and reloaded while nobody notices.
.SH COMMANDS
]] }
  for _, c in ipairs(commands) do
    out[#out + 1] = ".SS " .. code(c.usage) .. "\n" .. prose(c.text)
    for _, o in ipairs(c.options) do
      out[#out + 1] = ".TP\n" .. code(o.names) .. "\n" .. plain(o.what) .. "\n"
    end
  end
  out[#out + 1] = FOOT
  return table.concat(out)
end

-- ---- gwrun.lua(5) ----

--- A row's cells; "|" within `code` is written "\|" in Markdown.
local function cells(line)
  local list = {}
  line = line:gsub("\\|", "\1"):gsub("^| ?", ""):gsub(" ?|$", "") .. "|"
  for cell in line:gmatch "([^|]*)|" do
    list[#list + 1] = cell:gsub("\1", "|"):match "^%s*(.-)%s*$"
  end
  return list
end

--- A row of a table: its first cell is the term, a "default" stands behind it.
local function row(heads, list)
  local term, rest = inline(list[1]), {}
  for i = 2, #list do
    if heads[i] == "default" then
      term = term .. " (default: " .. inline(list[i]) .. ")"
    elseif list[i] ~= "" then
      rest[#rest + 1] = inline(list[i])
    end
  end
  return ".TP\n" .. term .. "\n" .. table.concat(rest, "; ") .. "\n"
end

local function blocks(text)
  local out, heads, fenced, para = {}, nil, false, {}
  local function flush()
    if #para > 0 then
      out[#out + 1] = para.begin .. inline(table.concat(para, "\n")) .. "\n"
    end
    para = {}
  end
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    local rank, heading = line:match "^(#+) (.*)"
    local bullet = line:match "^%s*%- (.*)"
    if line:match "^%s*```" then
      flush()
      out[#out + 1] = fenced and ".RE\n.fi\n" or ".PP\n.nf\n.RS\n"
      fenced = not fenced
    elseif fenced then
      out[#out + 1] = plain(line):gsub("%-", "\\-") .. "\n"
    elseif heading then
      flush()
      local request = rank == "##" and ".SH " or ".SS "
      if rank ~= "#" then out[#out + 1] = request .. inline(heading) .. "\n" end
    elseif line:match "^|" then
      flush()
      if line:match "^| ?%-%-%-" then goto continue end -- under the heads
      if heads then out[#out + 1] = row(heads, cells(line)) else heads = cells(line) end
    elseif line == "" then
      flush()
      heads = nil
    elseif bullet then
      flush()
      para = { bullet, begin = ".IP \\(bu 2\n" }
    else
      if #para == 0 then para.begin = ".PP\n" end
      para[#para + 1] = line:match "^%s*(.-)$"
    end
    ::continue::
  end
  flush()
  return table.concat(out)
end

function M.configuration(version, markdown)
  return head("GWRUN.LUA", 5, version, "File Formats") .. [[
.SH NAME
gwrun.lua \- what gwrun runs where
.SH SYNOPSIS
.I conf/gwrun.lua
.SH DESCRIPTION
]] .. blocks(markdown) .. [[
.SH SEE ALSO
\fBgwrun\fR(1); the pages named above lie in
.I ]] .. WEB .. "\n"
end

return M
