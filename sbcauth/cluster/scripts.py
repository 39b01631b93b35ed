"""What the engine does in one step each: scripts in Lua, run by Redis or Valkey.

Each begins by looking whether the engine's epoch is the one that the node knows: else it may have
forgotten something, and nothing is done. Whatever the other nodes must know is written into a
stream, in the order in which it happened. Lockouts are kept for as long again as they last.
"""

from sbcauth.policy.failure_record import LENIENT

PREFIX = "sbcauth:"
"""What the names of all keys in the engine begin with."""

_NEWS_KEPT = 20_000
_HEAD = f"""
local p, node = '{PREFIX}', ARGV[1]
local function news(...)
  redis.call('XADD', p .. 'news', 'MAXLEN', '~', {_NEWS_KEPT}, '*', 'node', node, 'what', ...)
end
local function lockout_of(key)  -- milliseconds left, seconds that it lasts, how it is written
  local words = redis.call('GET', p .. 'lock:' .. key)
  if not words then return 0, 0, '' end
  local duration = tonumber(string.match(words, '^%d+'))
  return math.max(redis.call('PTTL', p .. 'lock:' .. key) - duration * 1000, 0), duration, words
end
"""
_CHECKED = f"""{_HEAD}
if redis.call('GET', p .. 'epoch') ~= ARGV[2] then return {{'epoch'}} end
"""

CLAIM = f"""{_CHECKED}
local key, lifetime = ARGV[3], ARGV[4]
if redis.call('SET', p .. 'use:' .. key, node, 'NX', 'EX', lifetime) then return {{'new'}} end
return {{'used'}}
"""
"""Use up a nonce count: node, epoch, key, lifetime."""

FAIL = f"""{_CHECKED}
local used, seen, window, lenient, marked = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7]
if used ~= '' and redis.call('EXISTS', p .. 'use:' .. used) == 1 then return {{'used'}} end
if not redis.call('SET', p .. 'seen:' .. seen, 1, 'NX', 'EX', window) then return {{'seen'}} end
local answer = {{'counted'}}
for at = 8, #ARGV, 5 do
  local key, maximum, first, longest, who =
    ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]), ARGV[at + 4]
  local is_pair = at == 8
  local count, flag = tonumber(redis.call('GET', p .. 'count:' .. key) or '0'), 0
  if is_pair and count >= {LENIENT} then count, flag = count - {LENIENT}, {LENIENT} end
  if is_pair and lenient > 0 then flag = {LENIENT} end
  count = math.min(count + 1, 10000)
  local left, duration = lockout_of(key)
  local begins = 0
  if left == 0 and count < maximum then
    redis.call('SET', p .. 'count:' .. key, count + flag, 'EX', window + 1)
    if is_pair then news('held', 'key', key, 'count', count + flag, 'left', window + 1) end
    duration = 0
  else
    if left == 0 then
      duration = duration > 0 and math.min(2 * duration, longest) or first
      redis.call('SET', p .. 'lock:' .. key, duration .. ' ' .. who, 'EX', 2 * duration)
      left, begins = duration * 1000, 1
    end
    count = 0
    if flag > 0 then redis.call('SET', p .. 'count:' .. key, flag, 'PX', left)
    else redis.call('DEL', p .. 'count:' .. key) end
    news('locked', 'key', key, 'count', flag, 'left', left, 'words', duration .. ' ' .. who)
  end
  for _, each in ipairs({{count + flag, left, duration, begins}}) do answer[#answer + 1] = each end
end
if marked ~= '' then news('marked', 'key', marked, 'left', window + 1) end
return answer
"""
"""Count a failure: node, epoch, key of a nonce count that must be unused or nothing, evidence,
window, LENIENT or 0, the pair of a flow or nothing, and for each limit, that of the pair first:
key, maximum, length of the first and the longest lockout, scope and who it is."""

CONFIRM = f"""{_CHECKED}
local used, cleared, trusted, lifetime, own = ARGV[3], ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7])
if used ~= '' and redis.call('EXISTS', p .. 'use:' .. used) == 1 then return {{'used'}} end
local known = trusted ~= '' and redis.call('EXISTS', p .. 'trust:' .. trusted) == 1
for at = 8, #ARGV do
  if (at < 8 + own or not known) and lockout_of(ARGV[at]) > 0 then return {{'locked', at - 8}} end
end
if cleared ~= '' then redis.call('DEL', p .. 'count:' .. cleared) end
if trusted ~= '' then
  redis.call('SET', p .. 'trust:' .. trusted, 1, 'EX', lifetime)
  news('trusted', 'key', trusted, 'left', lifetime, 'cleared', cleared)
end
return {{'right'}}
"""
"""Let somebody in who is right: node, epoch, key of a nonce count that must be unused or nothing,
key whose count is forgotten, pair that is trusted and for how long, and the keys that must not be
locked out: a number of them at all, and the others for strangers."""

HARDEN = f"""{_CHECKED}
local left, _, words = lockout_of(ARGV[3])
if left > 0 and redis.call('DEL', p .. 'count:' .. ARGV[3]) == 1 then
  news('locked', 'key', ARGV[3], 'count', 0, 'left', left, 'words', words)
end
return {{'done'}}
"""
"""Make a lenient lockout one as any other: node, epoch, key."""

LIFT = f"""{_CHECKED}
local key = ARGV[3]
local left, duration, words = lockout_of(key)
if left == 0 then return {{'lifted'}} end
if tonumber(redis.call('GET', p .. 'count:' .. key) or '0') < {LENIENT} then return {{'hard'}} end
redis.call('DEL', p .. 'count:' .. key)
redis.call('EXPIRE', p .. 'lock:' .. key, duration)
news('lifted', 'key', key, 'words', words)
return {{'lifted'}}
"""
"""End a lenient lockout, if no node has found another answer wrong meanwhile: node, epoch, key."""

RESERVE = f"""{_CHECKED}
local stretch, lifetime = tonumber(ARGV[3]), ARGV[4]
for at = 5, #ARGV, 3 do
  local place, maximum, counted = p .. 'wait:' .. ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2]
  local waiting = redis.call('INCR', place .. ':' .. stretch)
  redis.call('EXPIRE', place .. ':' .. stretch, lifetime)
  waiting = waiting + tonumber(redis.call('GET', place .. ':' .. (stretch - 1)) or '0')
  local failed = tonumber(redis.call('GET', p .. 'count:' .. counted) or '0')
  if at == 5 then failed = failed % {LENIENT} end
  if lockout_of(counted) > 0 or waiting > maximum - failed then
    for back = 5, at, 3 do redis.call('DECR', p .. 'wait:' .. ARGV[back] .. ':' .. stretch) end
    return {{'full', waiting - 1}}
  end
end
return {{'reserved'}}
"""
"""Reserve an attempt: node, epoch, stretch of time and how long it is kept, and for each limit,
that of the pair first: place, maximum, key of what has failed."""

GIVE_BACK = f"""{_CHECKED}
for at = 4, #ARGV do
  local place = p .. 'wait:' .. ARGV[at] .. ':' .. ARGV[3]
  if tonumber(redis.call('GET', place) or '0') > 0 then redis.call('DECR', place) end
end
return {{'done'}}
"""
"""Give back what was reserved: node, epoch, stretch of time, places."""

FORGET = f"""{_HEAD}
for at = 2, #ARGV do
  redis.call('DEL', p .. 'count:' .. ARGV[at], p .. 'lock:' .. ARGV[at])
  news('forgotten', 'key', ARGV[at])
end
return {{'done'}}
"""
"""Forget failures and lockouts: node, keys."""

FORGET_ALL = f"""{_HEAD}
news('all forgotten')
return {{'done'}}
"""
"""Tell the nodes that everything that failed is forgotten: node."""

BEGIN = f"""{_HEAD}
local run, random = ARGV[2], ARGV[3]
local epoch = redis.call('GET', p .. 'epoch')
if not epoch or string.sub(epoch, 1, #run) ~= run then
  epoch = run .. random
  redis.call('SET', p .. 'epoch', epoch)
  news('epoch', 'epoch', epoch)
end
return {{'begun', epoch}}
"""
"""Begin an epoch, unless one has begun in this run of the engine: node, run, randomness."""

HERE = f"""{_HEAD}
local identity, lifetime, facts = ARGV[2], ARGV[3], ARGV[4]
local holder = redis.call('HGET', p .. 'node:' .. node, 'identity')
local time = redis.call('TIME')
if holder and holder ~= identity then return {{'taken', time[1], time[2]}} end
redis.call('HSET', p .. 'node:' .. node, 'identity', identity, 'facts', facts)
redis.call('EXPIRE', p .. 'node:' .. node, lifetime)
return {{'here', time[1], time[2]}}
"""
"""Say that a node is there: node, identity, for how long, and facts in JSON. What comes back has
the engine's time, in seconds and microseconds."""

STATE = """
local found = {}
for at, key in ipairs(ARGV) do
  found[at] = {redis.call('GET', key) or '', redis.call('PTTL', key)}
end
return found
"""
"""Return what keys hold, and for how many milliseconds more."""
