# mse_norm (published: l2_loss) over L0
# Made by quasar; `gnuplot pareto.gp` draws pareto.tsv into pareto.svg.
set encoding utf8
set terminal svg size 480,425 dynamic font 'sans-serif,14' enhanced
set output 'pareto.svg'
set border linecolor rgb 'black'
set grid linecolor rgb '#888888' linewidth 0.5 dashtype 3
set tics nomirror
set key noenhanced samplen 1.5 spacing 1.1
set xlabel 'L0' noenhanced offset 0,0.4
set ylabel 'mse_norm (published: l2_loss)' noenhanced
set logscale x
set format x '%g'
set xrange [6.4099:2542.67]
set logscale y
set format y '10^{%T}'
set yrange [0.000130421:0.064512]
set key outside below center horizontal maxcols 2 Left reverse height 0.6
plot 'pareto.tsv' index 0 using 3:2:($4-$3):(0) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#0072b2' notitle, \
     'pareto.tsv' index 0 using 1:5:(0):($6-$5) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#0072b2' notitle, \
     'pareto.tsv' index 0 using 1:2 with linespoints pt 7 ps 0.8 lw 1.5 dt 1 lc rgb '#0072b2' title 'topafa' noenhanced, \
     'pareto.tsv' index 1 using 3:2:($4-$3):(0) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#d55e00' notitle, \
     'pareto.tsv' index 1 using 1:5:(0):($6-$5) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#d55e00' notitle, \
     'pareto.tsv' index 1 using 1:2 with linespoints pt 5 ps 0.8 lw 1.5 dt 1 lc rgb '#d55e00' title 'topk' noenhanced, \
     'pareto.tsv' index 2 using 3:2:($4-$3):(0) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#009e73' notitle, \
     'pareto.tsv' index 2 using 1:5:(0):($6-$5) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#009e73' notitle, \
     'pareto.tsv' index 2 using 1:2 with linespoints pt 9 ps 0.8 lw 1.5 dt 2 lc rgb '#009e73' title 'topafa (published)' noenhanced, \
     'pareto.tsv' index 3 using 3:2:($4-$3):(0) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#cc79a7' notitle, \
     'pareto.tsv' index 3 using 1:5:(0):($6-$5) with vectors heads size screen 0.008,90 nofilled lw 1 lc rgb '#cc79a7' notitle, \
     'pareto.tsv' index 3 using 1:2 with linespoints pt 11 ps 0.8 lw 1.5 dt 2 lc rgb '#cc79a7' title 'topk (published)' noenhanced
