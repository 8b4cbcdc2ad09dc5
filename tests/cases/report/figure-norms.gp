# AFA diagnostics
# Made by quasar; `gnuplot norms.gp` draws norms.tsv into norms.svg.
set encoding utf8
set terminal svg size 480,405 dynamic font 'sans-serif,14' enhanced
set output 'norms.svg'
set border linecolor rgb 'black'
set grid linecolor rgb '#888888' linewidth 0.5 dashtype 3
set tics nomirror
set key noenhanced samplen 1.5 spacing 1.1
set multiplot
set lmargin 11
set rmargin 3
set xrange [0.5:4.5]
set xtics 1,1
unset logscale
set tmargin at screen 0.9704
set bmargin at screen 0.6938
set ylabel 'ε-LBO' noenhanced
set ytics autofreq
set logscale y
set format y '10^{%T}'
set yrange [3.32839e-06:0.000475905]
unset xlabel
unset key
plot 'norms.tsv' index 0 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#0072b2' notitle, \
     'norms.tsv' index 0 using 1:2 with points pt 7 ps 0.7 lc rgb '#0072b2' notitle, \
     'norms.tsv' index 1 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#d55e00' notitle, \
     'norms.tsv' index 1 using 1:2 with points pt 5 ps 0.7 lc rgb '#d55e00' notitle, \
     'norms.tsv' index 2 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#009e73' notitle, \
     'norms.tsv' index 2 using 1:2 with points pt 9 ps 0.7 lc rgb '#009e73' notitle, \
     'norms.tsv' index 3 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#cc79a7' notitle, \
     'norms.tsv' index 3 using 1:2 with points pt 11 ps 0.7 lc rgb '#cc79a7' notitle
unset logscale
set tmargin at screen 0.6000
set bmargin at screen 0.3235
set ylabel '‖f̃‖/‖z‖' noenhanced
set ytics 0.1
set format y '%.3g'
set yrange [0.5732:1.0268]
set xlabel 'number of the setting' noenhanced offset 0,0.4
set key outside below center horizontal maxcols 2 Left reverse height 0.6
plot 'norms.tsv' index 4 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#0072b2' notitle, \
     'norms.tsv' index 4 using 1:2 with points pt 7 ps 0.7 lc rgb '#0072b2' title 'topafa coeff=0.03125' noenhanced, \
     'norms.tsv' index 5 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#d55e00' notitle, \
     'norms.tsv' index 5 using 1:2 with points pt 5 ps 0.7 lc rgb '#d55e00' title 'topafa coeff=0.125' noenhanced, \
     'norms.tsv' index 6 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#009e73' notitle, \
     'norms.tsv' index 6 using 1:2 with points pt 9 ps 0.7 lc rgb '#009e73' title 'topk k=8' noenhanced, \
     'norms.tsv' index 7 using 1:3:(0):($4-$3) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#cc79a7' notitle, \
     'norms.tsv' index 7 using 1:2 with points pt 11 ps 0.7 lc rgb '#cc79a7' title 'topk k=16' noenhanced
unset multiplot
