// The operators' page: what the event stream /live tells once a second, and, for who
// has given the key, a table of clients. Whatever clients have sent enters the page as
// text, by textContent only.
"use strict";

const words = {
  en: {
    states: {}, lang: "中文", connecting: "connecting…", ready: "ready", stopping: "stopping", problem: "problems",
    clients: "Clients", messages: "Messages a second", bytes: "Bytes a second", in: "in", out: "out",
    slowest: "Slowest handlers", callback: "callback", calls: "calls/s", mean: "mean",
    topGroups: "Largest groups", members: "members",
    cells: "Cells", cell: "cell", since: "since", version: "version", gateways: "gateways", workers: "workers",
    there: "there", gone: "gone", here: "this one",
    cellsNote: (c) => `${c.there} there, ${c.gone} gone, ${amount(c.clients)} clients`,
    cellsOld: (ago) => `; as of ${ago} ago`,
    faults: "Errors by place", place: "place", times: "times", elsewhere: "elsewhere",
    processes: "Processes", process: "process", name: "name", state: "state", memory: "memory",
    cpu: "CPU", events: "events/s", errors: "errors", p99: "99 % within", restarts: "restarts", up: "up",
    count: "clients", groups: "Groups", uids: "uids", eventTime: "99 % of events within", allErrors: "Errors",
    noKey: "The table of clients needs a key: admin = { listen = …, key_file = … } in the configuration.",
    key: "Key", enter: "Enter", by: "By", all: "all", group: "group", address: "address", value: "Value",
    find: "Find", leave: "Forget the key", id: "id", gateway: "gateway", uid: "uid", inGroups: "groups",
    bytesIn: "in", bytesOut: "out", queued: "queued", idle: "idle", connected: "connected", kick: "kick",
    really: (id) => `Close the connection of ${id}?`, kicked: (n) => `${n} closed`,
    found: (n, more) => `${n} found${more ? ", and there are more" : ""}`, failed: "That failed: ",
  },
  zh: {
    states: { ready: "正常", starting: "启动中", stopping: "停止中", "back-off": "等待重启", down: "未运行",
      failed: "失败", ended: "已结束", "being replaced": "替换中", "not answering": "无响应" },
    lang: "English", connecting: "连接中…", ready: "正常", stopping: "正在停止", problem: "有问题",
    clients: "客户端", messages: "每秒消息数", bytes: "每秒字节数", in: "收", out: "发",
    slowest: "最慢的处理函数", callback: "回调", calls: "次/秒", mean: "平均",
    topGroups: "最大的组", members: "成员",
    cells: "单元", cell: "单元", since: "持续", version: "版本", gateways: "网关", workers: "worker",
    there: "在线", gone: "离线", here: "本单元",
    cellsNote: (c) => `${c.there} 个在线,${c.gone} 个离线,${amount(c.clients)} 个客户端`,
    cellsOld: (ago) => `;${ago} 前的数据`,
    faults: "出错位置", place: "位置", times: "次数", elsewhere: "其他",
    processes: "进程", process: "进程", name: "名称", state: "状态", memory: "内存",
    cpu: "CPU", events: "事件/秒", errors: "错误", p99: "99% 耗时", restarts: "重启", up: "运行",
    count: "客户端", groups: "组", uids: "uid 数", eventTime: "99% 事件耗时", allErrors: "错误",
    noKey: "查看客户端需要密钥:请在配置中设置 admin = { listen = …, key_file = … }。",
    key: "密钥", enter: "进入", by: "按", all: "全部", group: "组", address: "地址", value: "值",
    find: "查找", leave: "退出", id: "id", gateway: "网关", uid: "uid", inGroups: "组数",
    bytesIn: "收", bytesOut: "发", queued: "待发", idle: "空闲", connected: "已连接", kick: "断开",
    really: (id) => `断开 ${id} 的连接?`, kicked: (n) => `已断开 ${n} 个`,
    found: (n, more) => `找到 ${n} 个${more ? ",还有更多" : ""}`, failed: "失败:",
  },
};

const $ = (id) => document.getElementById(id);
const bounds = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]; // ms
const points = []; // of { clients, in, out, bytesIn, bytesOut }, one a second
const minute = []; // the events of the last 60 s
const HISTORY = 300; // seconds
let language = localStorage.language || (navigator.language.startsWith("zh") ? "zh" : "en");
let last = null; // the newest event
let before = null; // the one before it
let rows = []; // of the table of clients
let groups = []; // the largest ones
let count = 0; // of events
let known = false; // the key was given

const t = (key) => words[language][key];

// ---- numbers ----

function amount(n) {
  for (const unit of ["", "k", "M", "G"]) {
    if (Math.abs(n) < 1000 || unit === "G") return (n >= 100 || Number.isInteger(n) ? n.toFixed(0) : n.toFixed(1)) + unit;
    n /= 1000;
  }
}

const duration = (s) => (s < 0.001 ? `${(s * 1e6).toFixed(0)} µs` : s < 1 ? `${(s * 1000).toFixed(1)} ms` : `${s.toFixed(1)} s`);

const size = (n) => (n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(1)} K`
  : n < 1073741824 ? `${(n / 1048576).toFixed(1)} M` : `${(n / 1073741824).toFixed(2)} G`);

function time(s) {
  if (s < 60) return `${Math.floor(s)}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${Math.floor(s % 60)}s`;
  return s < 86400 ? `${Math.floor(s / 3600)}h${Math.floor(s / 60) % 60}m` : `${Math.floor(s / 86400)}d${Math.floor(s / 3600) % 24}h`;
}

const key = (p) => `${p.role}/${p.slot}`;
const of = (event, role) => event.status.processes.filter((p) => p.role === role && p.counters);
const sum = (list, name) => list.reduce((n, p) => n + (p.counters[name] || 0), 0);

// How much a counter of a process rose in a second.
function rate(p, name) {
  const old = before && before.status.processes.find((o) => key(o) === key(p));
  const seconds = before ? (last.at - before.at) / 1000 : 0;
  if (!old || !old.counters || !p.counters || seconds <= 0) return 0;
  return Math.max(0, (p.counters[name] - old.counters[name]) / seconds);
}

// How long the events of the last minute took, by worker and for all.
function recent() {
  const times = new Map();
  const all = bounds.map(() => 0).concat(0);
  for (const e of last.event_times) {
    const old = minute[0].event_times.find((o) => o.slot === e.slot);
    const counts = e.counts.map((n, i) => n - (old && minute.length > 1 ? old.counts[i] : 0));
    times.set(`worker/${e.slot}`, counts);
    counts.forEach((n, i) => { all[i] += n; });
  }
  return { times, all };
}

const key_of = (c) => JSON.stringify([c.name, c.callback]);

// The callbacks of workers of one name together, by the name of both: { name, callback, counts, seconds }.
function byCallback(event) {
  const all = new Map();
  for (const c of event.callbacks) {
    const sum = all.get(key_of(c));
    all.set(key_of(c), sum ? { ...c, counts: c.counts.map((n, i) => n + sum.counts[i]), seconds: c.seconds + sum.seconds } : c);
  }
  return all;
}

// What they did in the last minute (in a page that is younger, since the start), the slowest on average first.
function slowest() {
  const whole = minute.length < 60;
  const old = whole ? new Map() : byCallback(minute[0]);
  const span = Math.max(1, (whole ? last.status.uptime_ms : last.at - minute[0].at) / 1000);
  return [...byCallback(last).entries()].map(([id, c]) => {
    const before = old.get(id);
    const counts = c.counts.map((n, i) => n - (before ? before.counts[i] : 0));
    const calls = counts.reduce((a, b) => a + b, 0);
    return { ...c, counts, rate: calls / span, mean: calls > 0 ? (c.seconds - (before ? before.seconds : 0)) / calls : 0, calls };
  }).filter((c) => c.calls > 0).sort((a, b) => b.mean - a.mean);
}

// What 99 of 100 events took at most, in words.
function within(counts) {
  const all = counts.reduce((a, b) => a + b, 0);
  if (all === 0) return "–";
  let n = 0;
  const i = counts.findIndex((c) => (n += c) >= all * 0.99);
  if (i >= bounds.length) return "> 10 s";
  return bounds[i] < 1000 ? `${bounds[i]} ms` : `${bounds[i] / 1000} s`;
}

// ---- plots ----

function nice(max) {
  const base = 10 ** Math.floor(Math.log10(Math.max(max, 1)));
  return [1, 2, 5, 10].map((f) => f * base).find((n) => n >= max) || 1;
}

function plot(id, series, format) {
  const canvas = $(id), g = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
  const w = canvas.clientWidth, h = canvas.clientHeight, scale = devicePixelRatio;
  const top = nice(Math.max(1, ...series.flatMap(([name]) => points.map((p) => p[name]))));
  canvas.width = w * scale;
  canvas.height = h * scale;
  g.scale(scale, scale);
  g.font = "11px system-ui, sans-serif";
  g.strokeStyle = style.getPropertyValue("--line");
  g.fillStyle = style.getPropertyValue("--soft");
  for (const part of [0, 0.5, 1]) {
    const y = Math.round(h - 6 - part * (h - 24)) + 0.5;
    g.beginPath();
    g.moveTo(0, y);
    g.lineTo(w, y);
    g.stroke();
    if (part > 0) g.fillText(format(top * part), 2, y - 3);
  }
  for (const [name, color] of series) {
    g.strokeStyle = style.getPropertyValue(color);
    g.lineWidth = 1.5;
    g.beginPath();
    points.forEach((p, i) => {
      const x = w - (points.length - 1 - i) * (w / (Math.max(60, points.length) - 1));
      const y = h - 6 - (p[name] / top) * (h - 24);
      if (i === 0) g.moveTo(x, y); else g.lineTo(x, y);
    });
    g.stroke();
  }
  const now = points[points.length - 1];
  canvas.setAttribute("aria-label", series.map(([name]) => `${name} ${now ? format(now[name]) : ""}`).join(", "));
}

// ---- tables ----

function element(tag, text, className) {
  const e = document.createElement(tag);
  e.textContent = text;
  if (className) e.className = className;
  return e;
}

function head(id, columns) {
  const tr = document.createElement("tr");
  for (const [word, className] of columns) {
    const cell = element(word ? "th" : "td", word ? t(word) : "", className);
    if (word) cell.scope = "col";
    tr.append(cell);
  }
  $(id).tHead.replaceChildren(tr);
}

const TEXT = "text";

function showProcesses() {
  const { times } = recent();
  head("processes", [["process", TEXT], ["name", TEXT], ["state", TEXT], ["count"], ["memory"], ["cpu"], ["events"],
    ["errors"], ["p99"], ["restarts"], ["up"]]);
  $("processes").tBodies[0].replaceChildren(...last.status.processes.map((p) => {
    const tr = document.createElement("tr"), c = p.counters || {};
    const state = p.state === "ready" && !p.answering ? "not answering" : p.state;
    const good = state === "ready" || state === "ended";
    tr.append(element("td", key(p), TEXT), element("td", p.name, TEXT),
      element("td", t("states")[state] || state, good ? "text good" : "text bad"));
    const cells = [p.role === "gateway" || p.role === "worker" ? c.clients : "", c.memory ? size(c.memory) : "–",
      `${(rate(p, "cpu_ms") / 10).toFixed(0)} %`, "events" in c ? amount(rate(p, "events")) : "",
      "errors" in c ? c.errors : "", times.has(key(p)) ? within(times.get(key(p))) : "", p.restarts,
      p.pid ? time(p.uptime_ms / 1000) : "–"];
    tr.append(...cells.map((text) => element("td", text ?? "–")));
    return tr;
  }));
}

function row(...cells) {
  const tr = document.createElement("tr");
  tr.append(...cells.map(([text, className]) => element("td", text, className)));
  return tr;
}

function showSlowest() {
  const list = slowest();
  $("slowest-section").hidden = list.length === 0;
  head("slowest", [["callback", TEXT], ["name", TEXT], ["calls"], ["mean"], ["p99"]]);
  $("slowest").tBodies[0].replaceChildren(...list.map((c) => row([c.callback, TEXT], [c.name, TEXT], [amount(c.rate)],
    [duration(c.mean)], [within(c.counts)])));
}

function showGroups() {
  $("groups-section").hidden = groups.length === 0;
  head("groups", [["group", TEXT], ["members"]]);
  $("groups").tBodies[0].replaceChildren(...groups.map((g) => row([g.group, TEXT], [g.members])));
}

const CELLS_OLD = 15000; // ms without news of Redis, after which the page says so

function showCells() {
  const cells = last.cells;
  $("cells-section").hidden = !cells;
  if (!cells) return;
  const unseen = cells.there + cells.gone - cells.rows.length;
  $("cells-note").textContent = t("cellsNote")(cells) + (unseen > 0 ? ` (+${unseen})` : "")
    + (cells.age_ms > CELLS_OLD ? t("cellsOld")(time(cells.age_ms / 1000)) : "");
  head("cells", [["cell", TEXT], ["state", TEXT], ["since"], ["count"], ["gateways"], ["workers"], ["version"]]);
  $("cells").tBodies[0].replaceChildren(...cells.rows.map((c) => row([c.here ? `${c.name} (${t("here")})` : c.name, TEXT],
    [t(c.there ? "there" : "gone"), c.there ? "text good" : "text bad"], [time(c.seconds + cells.age_ms / 1000)],
    [c.clients], [c.gateways], [c.workers], [c.version])));
}

// Of workers of one name together, most first.
function showFaults() {
  const all = new Map();
  for (const f of last.faults) {
    const id = JSON.stringify([f.name, f.place]);
    all.set(id, { ...f, count: f.count + (all.get(id)?.count || 0) });
  }
  const list = [...all.values()].sort((a, b) => b.count - a.count).slice(0, 20);
  $("faults-section").hidden = list.length === 0;
  head("faults", [["place", TEXT], ["name", TEXT], ["times"]]);
  $("faults").tBodies[0].replaceChildren(...list.map((f) => {
    const tr = document.createElement("tr");
    tr.append(element("td", f.place ?? t("elsewhere"), TEXT), element("td", f.name, TEXT), element("td", f.count));
    return tr;
  }));
}

function showClients() {
  head("clients", [["id", TEXT], ["gateway", TEXT], ["address", TEXT], ["uid", TEXT], ["inGroups"], ["bytesIn"],
    ["bytesOut"], ["queued"], ["idle"], ["connected"], [""]]);
  $("clients").tBodies[0].replaceChildren(...rows.map((r) => {
    const tr = document.createElement("tr"), last_cell = document.createElement("td");
    const button = element("button", t("kick"));
    button.type = "button";
    button.setAttribute("aria-label", `${t("kick")} ${r.client_id}`);
    button.onclick = () => kick(r.client_id);
    last_cell.append(button);
    tr.append(...[r.client_id, r.gateway, r.peer, r.uid].map((text) => element("td", text, TEXT)),
      ...[r.groups, size(r.bytes_in), size(r.bytes_out), size(r.queued), time(r.idle), time(r.connected)]
        .map((text) => element("td", text)), last_cell);
    return tr;
  }));
}

// ---- the whole ----

function showTiles() {
  const gateways = of(last, "gateway"), workers = of(last, "worker");
  const now = points[points.length - 1] || { in: 0, out: 0, bytesIn: 0, bytesOut: 0 };
  const tiles = [["clients", amount(sum(gateways, "clients"))], ["messages", `${amount(now.in)} / ${amount(now.out)}`],
    ["bytes", `${amount(now.bytesIn)} / ${amount(now.bytesOut)}`], ["eventTime", within(recent().all)],
    ["uids", amount(sum(gateways, "uids"))], ["groups", amount(sum(gateways, "groups"))],
    ["allErrors", amount(sum(workers, "errors"))], ["up", time(last.status.uptime_ms / 1000)]];
  $("tiles").replaceChildren(...tiles.map(([word, text]) => {
    const div = document.createElement("div");
    div.append(element("span", t(word)), element("b", text));
    return div;
  }));
}

function show() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const e of document.querySelectorAll("[data-text]")) e.textContent = t(e.dataset.text);
  $("language").textContent = t("lang");
  $("state").textContent = t($("state").dataset.state);
  if (rows.length > 0) showClients();
  showGroups();
  if (!last) return;
  const problems = last.status.problems;
  $("version").textContent = last.status.version;
  $("problems").hidden = problems.length === 0;
  $("problems").replaceChildren(...problems.map((line) => element("li", line)));
  showTiles();
  plot("plot-clients", [["clients", "--a"]], amount);
  plot("plot-messages", [["in", "--a"], ["out", "--b"]], amount);
  plot("plot-bytes", [["bytesIn", "--a"], ["bytesOut", "--b"]], amount);
  showProcesses();
  showCells();
  showSlowest();
  showFaults();
}

function remember() {
  const gateways = of(last, "gateway");
  const rates = (name) => gateways.reduce((n, p) => n + rate(p, name), 0);
  points.push({ clients: sum(gateways, "clients"), in: rates("messages_in"), out: rates("messages_out"),
    bytesIn: rates("bytes_in"), bytesOut: rates("bytes_out") });
  if (points.length > HISTORY) points.shift();
}

function setState(state) {
  $("state").dataset.state = state;
  $("state").textContent = t(state);
}

function take(event) {
  before = last;
  last = event;
  last.at = performance.now();
  minute.push(last);
  if (minute.length > 60) minute.shift();
  if (before) remember();
  if (known && count++ % 5 === 0) attempt(askGroups);
  setState(last.status.stopping ? "stopping" : last.status.problems.length > 0 ? "problem" : "ready");
  show();
}

// ---- the key, groups, clients ----

async function askGroups() {
  const answer = await fetch("groups.json");
  if (!answer.ok) return askSession();
  groups = (await answer.json()).groups;
  showGroups();
}

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", body });
  const text = await answer.text();
  if (answer.status === 401) await askSession();
  if (!answer.ok) throw new Error(text.trim());
  return text ? JSON.parse(text) : null;
}

async function attempt(work) {
  try {
    await work();
  } catch (error) {
    $("note").textContent = t("failed") + error.message;
  }
}

async function askSession() {
  const session = await (await fetch("session.json")).json();
  $("no-key").hidden = session.has_key;
  $("login").hidden = !session.has_key || session.known;
  $("search").hidden = !session.known;
  if (session.known && !known) attempt(askGroups);
  known = session.known;
  if (!known) {
    rows = [];
    groups = [];
    $("found").hidden = true;
    showGroups();
  }
}

async function search() {
  const by = $("by").value;
  const found = await post("clients.json", JSON.stringify(by ? { [by]: $("value").value } : {}));
  rows = found.rows;
  $("found").hidden = rows.length === 0;
  $("note").textContent = t("found")(rows.length, found.more);
  showClients();
}

function kick(id) {
  if (!confirm(t("really")(id))) return;
  attempt(async () => {
    const done = await post("kick", JSON.stringify({ client_id: id }));
    rows = rows.filter((r) => r.client_id !== id);
    showClients();
    $("note").textContent = t("kicked")(done.clients);
  });
}

$("login").onsubmit = (event) => {
  event.preventDefault();
  attempt(async () => {
    const given = $("key").value;
    $("key").value = "";
    await post("login", given);
    $("note").textContent = "";
    await askSession();
  });
};

$("search").onsubmit = (event) => {
  event.preventDefault();
  attempt(search);
};

$("leave").onclick = () => attempt(async () => {
  await post("logout", "");
  $("note").textContent = "";
  await askSession();
});

$("language").onclick = () => {
  language = localStorage.language = language === "en" ? "zh" : "en";
  show();
};

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
addEventListener("resize", show);
show();
attempt(askSession);

const source = new EventSource("live");
source.onmessage = (message) => take(JSON.parse(message.data));
source.onerror = () => {
  last = null; // what came before says nothing of what comes then
  setState("connecting");
};
