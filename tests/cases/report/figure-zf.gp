# ZF plot: norm of the hidden state against norm of its features
# Made by quasar; `gnuplot zf.gp` draws zf.tsv into zf.svg.
set encoding utf8
set terminal svg size 560,440 dynamic font 'sans-serif,14' enhanced
set output 'zf.svg'
set border linecolor rgb 'black'
set grid linecolor rgb '#888888' linewidth 0.5 dashtype 3
set tics nomirror
set key noenhanced samplen 1.5 spacing 1.1
set xlabel '‖z‖' noenhanced offset 0,0.4
set ylabel '‖f̃‖' noenhanced
set logscale x
set xtics (10, 12, 14, 16, 18)
set format x '%g'
set xrange [8.289:19.9223]
set logscale y
set ytics (10, 12, 14, 16, 18)
set format y '%g'
set yrange [8.289:19.9223]
set key outside right center vertical Left reverse
plot 'zf.tsv' index 0 using 1:2:3 with points pt 7 ps variable lc rgb '#0072b2' title 'layer 1' noenhanced, \
     'zf.tsv' index 1 using 1:2:3 with points pt 7 ps variable lc rgb '#e69f00' title 'layer 2' noenhanced, \
     'zf.tsv' index 2 using 1:2 with lines lw 1.5 dt 1 lc rgb 'black' title '‖f̃‖ = ‖z‖' noenhanced, \
     'zf.tsv' index 3 using 1:2 with lines lw 1.5 dt 2 lc rgb '#888888' title 'ε = 0.00098' noenhanced, \
     'zf.tsv' index 4 using 1:2 with lines lw 1.5 dt 2 lc rgb '#888888' notitle, \
     'zf.tsv' index 5 using 1:2 with lines lw 1.5 dt 4 lc rgb '#888888' title 'ε = 0.00196' noenhanced, \
     'zf.tsv' index 6 using 1:2 with lines lw 1.5 dt 4 lc rgb '#888888' notitle, \
     'zf.tsv' index 7 using 1:2 with lines lw 1.5 dt 3 lc rgb '#888888' title 'ε = 0.00392' noenhanced
