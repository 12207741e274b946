;; Stack switching, of which the official suite has nothing yet: continuations that
;; yield, end, throw, trap, switch to one another, are bound, dropped, and reentered
;; from within others.

(module
  (type $f (func))
  (type $c (cont $f))
  (type $g (func (param i32) (result i32)))
  (type $d (cont $g))
  (tag $yield (param i32))
  (tag $ask (param i32) (result i32))
  (tag $broken (param i32))
  (global $sum (mut i32) (i32.const 0))
  (elem declare func $count $down $bound $throws $traps $nested $tails $last)

  (func $add (param i32) (global.set $sum (i32.add (global.get $sum) (local.get 0))))

  ;; Yields 1, 2, 3.
  (func $count
    (suspend $yield (i32.const 1))
    (suspend $yield (i32.const 2))
    (suspend $yield (i32.const 3)))

  ;; Yields from the depth of a recursion.
  (func $down (call $deeper (i32.const 5)))
  (func $deeper (param i32)
    (if (local.get 0)
      (then
        (suspend $yield (local.get 0))
        (call $deeper (i32.sub (local.get 0) (i32.const 1)))
        (suspend $yield (local.get 0)))))

  ;; Resumes a continuation until it ends, and adds what it yields.
  (func $drain (param $k (ref null $c))
    (loop $again
      (block $on (result i32 (ref $c))
        (resume $c (on $yield $on) (local.get $k))
        (return))
      (local.set $k)
      (call $add)
      (br $again)))

  (func (export "count") (result i32)
    (global.set $sum (i32.const 0))
    (call $drain (cont.new $c (ref.func $count)))
    (global.get $sum))
  (func (export "down") (result i32)
    (global.set $sum (i32.const 0))
    (call $drain (cont.new $c (ref.func $down)))
    (global.get $sum))

  ;; A continuation that drains another, and yields what is the sum so far.
  (func $nested
    (call $drain (cont.new $c (ref.func $count)))
    (suspend $yield (global.get $sum))
    (call $drain (cont.new $c (ref.func $down))))
  (func (export "nested") (result i32)
    (global.set $sum (i32.const 0))
    (call $drain (cont.new $c (ref.func $nested)))
    (global.get $sum))

  ;; Asks, and gives back what it was answered.
  (func $bound (param i32) (result i32)
    (i32.add (local.get 0) (suspend $ask (i32.mul (local.get 0) (i32.const 2)))))
  (func (export "ask") (param i32) (result i32)
    (local $k (ref null $d))
    (block $on (result i32 (ref $d))
      (resume $d (on $ask $on) (local.get 0) (cont.new $d (ref.func $bound)))
      (return))
    (local.set $k)
    (i32.add (i32.const 100))
    (resume $d (local.get $k)))

  (func (export "bind") (param i32) (result i32)
    (local $k (ref null $d))
    (block $on (result i32 (ref $d))
      (resume $r (on $ask $on)
        (cont.bind $d $r (local.get 0) (cont.new $d (ref.func $bound))))
      (return))
    (local.set $k)
    (drop)
    (resume $d (i32.const 7) (local.get $k)))
  (type $h (func (result i32)))
  (type $r (cont $h))

  ;; Yields and is never resumed.
  (func (export "dropped") (result i32)
    (block $on (result i32 (ref $c))
      (resume $c (on $yield $on) (cont.new $c (ref.func $down)))
      (return (i32.const -1)))
    (drop))

  ;; An exception that leaves a continuation.
  (func $throws (call $throwing))
  (func $throwing (suspend $yield (i32.const 1)) (throw $broken (i32.const 9)))
  (func (export "throws") (result i32)
    (global.set $sum (i32.const 0))
    (block $caught (result i32)
      (try_table (catch $broken $caught)
        (call $drain (cont.new $c (ref.func $throws))))
      (i32.const -1))
    (i32.add (global.get $sum)))
  (func (export "throws on")
    (call $drain (cont.new $c (ref.func $throws))))

  (func $traps (suspend $yield (i32.const 1)) (unreachable))
  (func (export "traps")
    (call $drain (cont.new $c (ref.func $traps))))

  ;; Tail calls on a continuation, with a yield between.
  (func $tails (suspend $yield (i32.const 1)) (return_call $last))
  (func $last (suspend $yield (i32.const 20)) (return_call $count))
  (func (export "tails") (result i32)
    (global.set $sum (i32.const 0))
    (call $drain (cont.new $c (ref.func $tails)))
    (global.get $sum))

  (func (export "unhandled") (suspend $yield (i32.const 1)))
  (func (export "twice")
    (local $k (ref null $c))
    (local.set $k (cont.new $c (ref.func $count)))
    (call $drain (local.get $k))
    (call $drain (local.get $k)))
)

(assert_return (invoke "count") (i32.const 6))
(assert_return (invoke "down") (i32.const 30))
(assert_return (invoke "nested") (i32.const 42))
(assert_return (invoke "ask" (i32.const 5)) (i32.const 115))
(assert_return (invoke "bind" (i32.const 5)) (i32.const 12))
(assert_return (invoke "dropped") (i32.const 5))
(assert_return (invoke "count") (i32.const 6))
(assert_return (invoke "throws") (i32.const 10))
(assert_exception (invoke "throws on"))
(assert_return (invoke "tails") (i32.const 27))
(assert_suspension (invoke "unhandled") "unhandled tag")
(assert_trap (invoke "twice") "continuation already consumed")
(assert_trap (invoke "traps") "unreachable")
(assert_return (invoke "count") (i32.const 6))

;; Two continuations that switch to one another.
(module
  (rec
    (type $f (func (param i32 (ref null $c))))
    (type $c (cont $f)))
  (type $s (func (param i32)))
  (type $start (cont $s))
  (tag $swap)
  (global $log (mut i32) (i32.const 0))
  (elem declare func $ping $pong)
  (func $note (param i32)
    (global.set $log (i32.add (i32.mul (global.get $log) (i32.const 10)) (local.get 0))))
  (func $ping (param i32)
    (local $other (ref null $c))
    (call $note (i32.const 1))
    (switch $c $swap (local.get 0) (cont.new $c (ref.func $pong)))
    (local.set $other)
    (call $note)
    (switch $c $swap (i32.const 4) (local.get $other))
    (drop)
    (call $note))
  (func $pong (type $f) (param i32 (ref null $c))
    (call $note (local.get 0))
    (switch $c $swap (i32.const 3) (local.get 1))
    (local.set 1)
    (call $note)
    (switch $c $swap (i32.const 5) (local.get 1))
    (drop) (drop))
  (func (export "switch") (result i32)
    (resume $start (on $swap switch) (i32.const 2) (cont.new $start (ref.func $ping)))
    (global.get $log))
)
(assert_return (invoke "switch") (i32.const 12345))
