//! The Lua scripts: each is one atomic step of Redis.
//!
//! Decides: what happens in one step. Never does: depend on having run once only: each may be sent
//! again after a lost answer, because the owner's token recognises its own.

use redis::Script;
use std::sync::LazyLock;

/// KEYS: lock, fence. ARGV: owner, ttl (ms), how long the fence is kept (ms).
/// Returns 1 and the fencing token, or 0 and the milliseconds until the lock expires.
///
/// The token is the larger of "one more than the last" and the server's clock in milliseconds: it
/// rises strictly while Redis keeps its data, and still rises when Redis loses them (a failover to
/// a replica that lags behind, a flush), as long as the clocks of the servers are about right.
pub(super) static ACQUIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local holder = redis.call('GET', KEYS[1])
         if holder and holder ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
         local time = redis.call('TIME')
         local now = time[1] * 1000 + math.floor(time[2] / 1000)
         local last = tonumber(redis.call('GET', KEYS[2]) or '0')
         local token = math.max(last + 1, now)
         redis.call('SET', KEYS[2], string.format('%.0f', token), 'PX', ARGV[3])
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
         return {1, token}",
    )
});

/// KEYS: lock. ARGV: owner. Returns whether it was held.
pub(super) static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         return redis.call('DEL', KEYS[1])",
    )
});

/// KEYS: lock. ARGV: owner, ttl (ms). Returns whether it is held. Never shortens.
pub(super) static EXTEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
           redis.call('PEXPIRE', KEYS[1], ARGV[2])
         end
         return 1",
    )
});

/// KEYS: record. ARGV: owner, fingerprint, lease (ms).
/// Returns `begun`, `other` (another fingerprint), `running`, or `done` and the result.
pub(super) static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local found = redis.call('HMGET', KEYS[1], 'fingerprint', 'owner', 'result')
         if found[1] and found[1] ~= ARGV[2] then return {'other', ''} end
         if found[3] then return {'done', found[3]} end
         if found[2] and found[2] ~= ARGV[1] then return {'running', ''} end
         redis.call('HSET', KEYS[1], 'fingerprint', ARGV[2], 'owner', ARGV[1])
         redis.call('PEXPIRE', KEYS[1], ARGV[3])
         return {'begun', ''}",
    )
});

/// KEYS: record. ARGV: owner, lease (ms). Returns whether the record is still the owner's.
pub(super) static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
         return redis.call('PEXPIRE', KEYS[1], ARGV[2])",
    )
});

/// KEYS: record. ARGV: owner, result, ttl (ms). Returns whether the record is the owner's.
pub(super) static FINISH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
         redis.call('HSET', KEYS[1], 'result', ARGV[2])
         redis.call('PEXPIRE', KEYS[1], ARGV[3])
         return 1",
    )
});

/// KEYS: record. ARGV: owner. Frees a record that has no result.
pub(super) static ABANDON: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "local found = redis.call('HMGET', KEYS[1], 'owner', 'result')
         if found[1] ~= ARGV[1] or found[2] then return 0 end
         return redis.call('DEL', KEYS[1])",
    )
});
