# NMSE against ε-LBO per layer
# Made by quasar; `gnuplot violin.gp` draws violin.tsv into violin.svg.
set encoding utf8
set terminal svg size 640,447 dynamic font 'sans-serif,14' enhanced
set output 'violin.svg'
set border linecolor rgb 'black'
set grid linecolor rgb '#888888' linewidth 0.5 dashtype 3
set tics nomirror
set key noenhanced samplen 1.5 spacing 1.1
set xtics noenhanced
set xtics ('1' 1)
set xtics add ('2' 2)
set xrange [0.3:2.7]
set xlabel 'layer' noenhanced offset 0,0.4
set key outside below center horizontal maxcols 4 Left reverse height 0.6
set logscale y
set format y '%g'
set yrange [0.00831764:1.20226]
set ylabel 'NMSE' noenhanced
set ytics nomirror
set logscale y2
set y2tics (0.0002, 0.0005, 0.001)
set format y2 '%g'
set y2range [0.000172757:0.001413]
set y2label 'ε-LBO' noenhanced
set y2tics nomirror
plot 'violin.tsv' index 0 using 1:2 axes x1y1 with filledcurves closed fillcolor rgb '#0072b2' fillstyle transparent solid 0.55 noborder title 'NMSE' noenhanced, \
     'violin.tsv' index 1 using 1:2 axes x1y1 with filledcurves closed fillcolor rgb '#0072b2' fillstyle transparent solid 0.55 noborder notitle, \
     'violin.tsv' index 2 using 1:2:3:4 axes x1y1 with vectors nohead lw 2 lc rgb '#0072b2' notitle, \
     'violin.tsv' index 3 using 1:2 axes x1y2 with filledcurves closed fillcolor rgb '#d55e00' fillstyle transparent solid 0.55 noborder title 'ε-LBO' noenhanced, \
     'violin.tsv' index 4 using 1:2 axes x1y2 with filledcurves closed fillcolor rgb '#d55e00' fillstyle transparent solid 0.55 noborder notitle, \
     'violin.tsv' index 5 using 1:2:3:4 axes x1y2 with vectors nohead lw 2 lc rgb '#d55e00' notitle, \
     'violin.tsv' index 6 using 1:2 axes x1y1 with points pt 7 ps 1.1 lc rgb 'black' title 'best median' noenhanced, \
     'violin.tsv' index 7 using 1:2 axes x1y2 with points pt 7 ps 1.1 lc rgb 'black' notitle, \
     'violin.tsv' index 8 using 1:2 axes x1y1 with points pt 6 ps 1.1 lc rgb 'black' title 'worst median' noenhanced, \
     'violin.tsv' index 9 using 1:2 axes x1y2 with points pt 6 ps 1.1 lc rgb 'black' notitle
