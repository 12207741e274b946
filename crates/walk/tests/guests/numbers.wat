;; Floats and their conversions, whose sequences have branches of their own, and
;; constants that stand behind the code.
;; expect: 1233
(module
  (func $convert (param $x f64) (result i64)
    (i64.add
      (i64.trunc_sat_f64_u (local.get $x))
      (i64.add
        (i64.trunc_f64_s (f64.nearest (f64.min (local.get $x) (f64.const 1e9))))
        (i64.extend_i32_u (i32.trunc_sat_f32_u (f32.sqrt (f32.demote_f64 (f64.abs (local.get $x)))))))))
  (func $mixed (param $n i64) (result f64)
    (if (i64.eqz (local.get $n)) (then (return (f64.const 0.5))))
    (f64.add
      (f64.mul (f64.convert_i64_u (local.get $n)) (f64.const 3.5))
      (f64.copysign (call $mixed (i64.sub (local.get $n) (i64.const 1))) (f64.const 1))))
  (func (export "run") (result i64)
    (local $i i64) (local $sum i64)
    (loop $again
      (local.set $sum (i64.add (local.get $sum) (call $convert (call $mixed (local.get $i)))))
      (local.set $sum (i64.add (local.get $sum) (i64.popcnt (i64.rem_s (local.get $sum) (i64.const 7)))))
      (local.set $i (i64.add (local.get $i) (i64.const 1)))
      (br_if $again (i64.lt_u (local.get $i) (i64.const 10))))
    (local.get $sum)))
